r"""Read the worked solutions that problems come with, in GSM8K's format or ending in a box.

GSM8K has solution and answer in one column, with calculator marks: `48/2 = <<48/2=24>>24 clips.`
and a last line `#### 24`.
"""

import re

from crosslens.config.benchmark_columns import GSM8K_MARK

CALCULATION = re.compile(r"<<[^<>\n]*>>")
LAST_LINE = re.compile(rf"^{GSM8K_MARK}[ \t]*(\S.*?)\s*\Z", re.MULTILINE)
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def split_solution(text: str) -> tuple[str, str]:
    r"""Return (answer, solution) for a text in GSM8K's format; for any other, the text and "".

    The calculator marks of the solution are removed, and it ends in `The answer is \boxed{24}.`;
    the answer has no thousands separators.
    """
    last = LAST_LINE.search(text)
    if last is None:
        return text, ""
    answer = THOUSANDS.sub("", last[1])
    steps = CALCULATION.sub("", text[: last.start()]).strip()
    return answer, f"{steps}\nThe answer is \\boxed{{{answer}}}.".lstrip()
