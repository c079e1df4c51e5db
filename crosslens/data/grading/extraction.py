r"""Extract the final answer of a response: the content of its last `\boxed`."""

import re
from typing import NamedTuple

PROMPT = "Problem: {problem}\nMark your solution with \\boxed\nAnswer:"  # Evalchemy's
BOX = r"\\(?:boxed|fbox)(?![a-zA-Z])\s*"
SIGN = re.compile(rf"(?P<box>{BOX}\{{)|{BOX}(?P<word>[^\s$]*)|\\.|[{{}}]", re.DOTALL)
MOST_NESTED = 3  # boxes around an answer


class Box(NamedTuple):
    """Where a box's content begins and ends; `end` is None while it is open."""

    start: int
    end: int | None
    word: bool = False


def user_message(problem: str) -> str:
    """Return the user's turn for a math problem, in Evalchemy's words."""
    return PROMPT.format(problem=problem)


def extract_answer(response: str) -> str | None:
    r"""Return the content of the last `\boxed` or `\fbox` of a response, or None.

    The content is in balanced braces, or one word (`\boxed 5`), as in the harness. A box within
    another belongs to the outer one. Boxes in a think block do not count.
    """
    answer = last_box(after_thinking(response))
    for _ in range(MOST_NESTED):
        if answer is None or not is_box(answer):
            break
        answer = last_box(answer)
    return answer


def is_box(text: str) -> bool:
    """Return whether a text consists of a single box."""
    first, boxes = SIGN.match(text), outer_boxes(text)
    return bool(first and first["box"]) and len(boxes) == 1 and boxes[0].end == len(text) - 1


def after_thinking(response: str) -> str:
    """Return what follows the last think block; nothing where a block is still open."""
    text = response.rpartition("</think>")[2]
    return "" if "<think>" in text else text


def last_box(text: str) -> str | None:
    """Return the content of the last outer box, or None where there is none or it is open."""
    boxes = outer_boxes(text)
    if not boxes or boxes[-1].end is None:
        return None
    content = text[boxes[-1].start : boxes[-1].end].strip()
    return content.rstrip(".,;") if boxes[-1].word else content


def outer_boxes(text: str) -> list[Box]:
    """Return the boxes that are not inside another closed box, in one pass over the text."""
    boxes: list[Box] = []
    opened: list[int | None] = []  # for each open brace the place of its box in `boxes`
    for sign in SIGN.finditer(text):
        if sign["word"] is not None:
            boxes.append(Box(sign.start("word"), sign.end(), word=True))
        elif sign["box"]:
            opened.append(len(boxes))
            boxes.append(Box(sign.end(), None))
        elif sign[0] == "{":
            opened.append(None)
        elif sign[0] == "}" and opened and (place := opened.pop()) is not None:
            boxes[place:] = [boxes[place]._replace(end=sign.start())]
    return boxes
