r"""Grade math answers: reward, rejection of teacher traces and evaluation all use `is_correct`.

It is a pure function of its arguments: threads, forks and the machine's load do not change a
verdict. docs/grader.md lists what is accepted. docs/grader-accuracy.md has the measurements.

    extraction   the box that counts
    notation     LaTeX to tokens; what only dresses an answer is dropped
    reader, expressions, syntax   a closed grammar: every token is read, or the answer is unreadable
    units        the units that an answer may carry
    values       exact values, or 100 digits, in bounded time
    forms        what an answer leaves to compute
    equality, relations, comparison   equal values, statements, answers
"""

import sys

from crosslens.data.grading.comparison import is_same
from crosslens.data.grading.extraction import PROMPT, extract_answer, user_message

__all__ = ["PROMPT", "extract_answer", "is_correct", "user_message"]


def is_correct(response: str, gold: str) -> bool:
    r"""Return whether the last boxed answer of `response` is `gold`, in a form as finished.

    A response without a closed box after its think block is incorrect. If the grader fails, it
    reports so on stderr and counts the response as incorrect, so that training continues.
    """
    answer = extract_answer(response)
    if not answer:
        return False
    try:
        return answer == gold.strip() or is_same(answer, gold)
    except Exception as error:
        what = f"{type(error).__name__} on {answer[:80]!r} against {gold[:80]!r}"
        print(f"grader: {what}: counted as incorrect", file=sys.stderr, flush=True)
        return False
