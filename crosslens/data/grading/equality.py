"""Compare two values: numbers, expressions, quantities, tuples, sets, matrices."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeVar

from crosslens.data.grading.forms import is_finished, key
from crosslens.data.grading.reader import Node
from crosslens.data.grading.values import UNDEFINED, names_of, number, rational, same_value, value

SIGNIFICANT = 6  # digits that a rounded decimal must have
T = TypeVar("T")


def same(answer: Node, gold: Node) -> bool:
    """Compare two values of any kind."""
    if "quantity" in (answer.kind, gold.kind):
        return same_quantity(answer, gold)
    if gold.kind in ("set", "union"):
        return answer.kind == gold.kind and same_in_any_order(answer.parts, gold.parts, same_part)
    if gold.kind in ("tuple", "matrix", "row", "ratio", "words", "based"):
        own, wanted = ((n.kind, n.value, len(n.parts)) for n in (answer, gold))
        return own == wanted and all(map(same_part, answer.parts, gold.parts))
    return same_expression(answer, gold)


def same_part(answer: Node, gold: Node) -> bool:
    """Compare parts of tuples, sets and matrices, which may have only the gold answer's units."""
    return (answer.kind == "quantity") <= (gold.kind == "quantity") and same(answer, gold)


def same_in_any_order(left: Sequence[T], right: Sequence[T], same: Callable[[T, T], bool]) -> bool:
    """Return whether the members of two lists pair off."""
    rest = list(right)
    for member in left:
        match = next((i for i, other in enumerate(rest) if same(member, other)), None)
        if match is None:
            return False
        del rest[match]
    return not rest


def same_quantity(answer: Node, gold: Node) -> bool:
    """Compare numbers with units: one of them may leave the unit out.

    p% is p/100, or p if the gold answer is a number of at least 1 without a unit.
    """
    (left, unit), (right, wanted) = without_unit(answer), without_unit(gold)
    if unit and wanted and unit != wanted:
        return False
    if unit and not wanted and names_of(left):
        return False
    if "percent" in (unit, wanted) and unit != wanted:
        share, other = map(rational, (left, right) if unit else (right, left))
        if share is None or other is None or (unit and share == other and abs(other) < 1):
            return False
        return share in (other, 100 * other) and is_finished(left, right)
    return same(left, right)


def without_unit(node: Node) -> tuple[Node, str | None]:
    """Return a value and its unit."""
    return (node.parts[0], node.value) if node.kind == "quantity" else (node, None)


def same_expression(answer: Node, gold: Node) -> bool:
    """Compare by parts, as a rounded decimal, or by value if nothing is left to compute."""
    if key(answer) == key(gold) or is_rounded(answer, gold):
        return True
    return same_value(answer, gold) and is_finished(answer, gold)


def is_rounded(answer: Node, gold: Node) -> bool:
    """Return whether a decimal is the gold answer correctly rounded, if no decimal equals it."""
    digits = decimal(answer)
    if digits is None or len(digits.replace(".", "").lstrip("-0")) < SIGNIFICANT:
        return False
    exact = rational(gold)
    return (exact is None or not has_end(exact)) and rounds_to(digits, gold)


def decimal(node: Node) -> str | None:
    """Return the sign and digits of a number, or None for anything else."""
    if node.kind == "minus" and node.parts[0].kind == "number":
        return f"-{node.parts[0].value}"
    return node.value if node.kind == "number" else None


def rounds_to(digits: str, exact: Node) -> bool:
    """Return whether an expression, rounded to a number's decimal places, equals the number."""
    half = Fraction(1, 2 * 10 ** len(digits.partition(".")[2]))
    if names_of(exact):
        return False
    try:
        return bool(abs(number(value(exact, {})) - number(Fraction(digits))) <= number(half))
    except UNDEFINED:
        return False


def has_end(x: Fraction) -> bool:
    """Return whether a fraction has a finite decimal expansion."""
    below = x.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1
