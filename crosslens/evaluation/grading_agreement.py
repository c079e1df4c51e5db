"""The project's grader next to the harness's own, over the same responses.

The harness compares texts and so refuses more. A growing number of responses that only the grader
accepts, as GRPO goes on, is a sign that the policy has found a form that the grader is too lenient
with: read them.
"""

from collections.abc import Iterable
from typing import NamedTuple

from crosslens.data.grading import is_correct
from crosslens.evaluation.harness import same_box


class Agreement(NamedTuple):
    """Numbers of responses by what the two graders say, and those that one of them accepts alone.

    The last two are pairs of response and gold answer.
    """

    both: int
    neither: int
    grader_only: list[tuple[str, str]]
    harness_only: list[tuple[str, str]]


def compare(responses: Iterable[tuple[str, str]]) -> Agreement:
    """Grade pairs of response and gold answer by both graders."""
    found: dict[tuple[bool, bool], list[tuple[str, str]]] = {}
    for response, gold in responses:
        verdicts = is_correct(response, gold), same_box(response, gold)
        found.setdefault(verdicts, []).append((response, gold))
    return Agreement(
        both=len(found.get((True, True), [])),
        neither=len(found.get((False, False), [])),
        grader_only=found.get((True, False), []),
        harness_only=found.get((False, True), []),
    )
