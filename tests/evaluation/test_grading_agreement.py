"""The two graders over the same responses."""

from crosslens.evaluation.grading_agreement import compare


def test_responses_are_counted_by_both_verdicts() -> None:
    same, other = (r"\boxed{1,2}", "1,2"), (r"\boxed{3}", "1,2")
    reordered, handed_back = (r"\boxed{2,1}", "1,2"), (r"\boxed{3=5}", "5")
    found = compare([same, same, other, reordered, handed_back])
    assert (found.both, found.neither) == (2, 1)
    assert found.grader_only == [reordered]
    assert found.harness_only == [handed_back]


def test_no_responses_are_no_agreement() -> None:
    assert compare([]) == (0, 0, [], [])
