"""Compute values of expressions: exact if rational, else to 100 digits, always in bounded time.

Two expressions are equal if their values agree at fixed points: rational functions are compared
exactly, all others within 1e-80 of their size.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import reduce
from operator import add, mul, truediv
from typing import Any

from mpmath.ctx_mp import MPContext

from crosslens.data.grading.reader import Node

DIGITS, TOLERANCE = 100, 80  # decimal digits of the calculation, and those that must agree
LARGEST_EXPONENT = 10**6
LARGEST_ARGUMENT = 10**9  # of sines, logarithms, ...
LARGEST_INTEGER = 10**5  # bits, of numbers that are kept exact
POINTS = 3

mp = MPContext()  # our own: nothing below changes its precision, so threads may share it
mp.dps = DIGITS
Number = Any  # a Fraction, mp.mpf or mp.mpc
Rule = Callable[[Node, Mapping[str, Fraction]], Number]
TEN = mp.mpf(10)
CONSTANTS = {"pi": +mp.pi, "e": +mp.e, "i": mp.mpc(0, 1)}
FUNCTIONS: dict[str, Callable[..., Number]] = {
    **{name: getattr(mp, name) for name in "sin cos tan sinh cosh tanh exp ln".split()},
    **{f"arc{name}": getattr(mp, f"a{name}") for name in ("sin", "cos", "tan")},
    "cot": lambda x: 1 / mp.tan(x),
    "sec": lambda x: 1 / mp.cos(x),
    "csc": lambda x: 1 / mp.sin(x),
    "log": lambda x, base=TEN: mp.ln(x) / mp.ln(base),
}


class Unknown(ArithmeticError):
    """Raised for a value that is undefined, too large, or not a number."""


UNDEFINED = (ArithmeticError, ValueError, TypeError, LookupError)


def same_value(left: Node, right: Node) -> bool:
    """Return whether two expressions agree at every point."""
    names = sorted({*names_of(left), *names_of(right)})
    if sorted(names_of(left)) != sorted(names_of(right)):
        return False
    try:
        return all(agree(value(left, point), value(right, point)) for point in points(names))
    except UNDEFINED:
        return False


def agree(left: Number, right: Number) -> bool:
    """Return whether two values are the same number."""
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left == right
    left, right = number(left), number(right)
    size = max(abs(left), abs(right))
    return bool(abs(left - right) <= size * TEN**-TOLERANCE)


def points(names: list[str]) -> Iterator[Mapping[str, Fraction]]:
    """Yield assignments of rational numbers, of both signs, to names; one if there are no names."""
    for index in range(POINTS if names else 1):
        yield {name: coordinate(name, index) for name in names}


def coordinate(name: str, index: int) -> Fraction:
    """Return a number that depends only on a name and an index."""
    digest = hashlib.sha256(f"{index} {name}".encode()).digest()
    size = Fraction(1009 + int.from_bytes(digest[:2], "big"), 20011)
    return -size if digest[2] + index & 1 else size


def names_of(node: Node) -> set[str]:
    """Return the variables and named functions of an expression."""
    own = {str(node.value)} if node.kind in ("name", "applied") else set()
    return own.union(*map(names_of, node.parts))


def value(node: Node, point: Mapping[str, Fraction]) -> Number:
    """Return the value of an expression. Raises ArithmeticError or ValueError if it has none."""
    return RULES[node.kind](node, point) if node.kind in RULES else unknown(node)


def unknown(node: Node) -> Number:
    """Raise Unknown."""
    raise Unknown(node.kind)


def rational(node: Node) -> Fraction | None:
    """Return the exact value of an expression without names, or None if it is irrational."""
    try:
        exact = value(node, {})
    except UNDEFINED:
        return None
    return exact if isinstance(exact, Fraction) else None


def number(x: Number) -> Number:
    """Return a value as an mpmath number."""
    return mp.mpf(x.numerator) / x.denominator if isinstance(x, Fraction) else x


def folded(operation: Callable[[Number, Number], Number]) -> Rule:
    """Return a function that applies an operation from left to right, exactly where possible."""

    def fold(node: Node, point: Mapping[str, Fraction]) -> Number:
        values = (value(part, point) for part in node.parts)
        return reduce(lambda left, right: operation(*alike(left, right)), values)

    return fold


def alike(left: Number, right: Number) -> tuple[Number, Number]:
    """Return two values as fractions if both are and neither is huge, else as mpmath numbers."""
    if all(isinstance(x, Fraction) and bits(x) < LARGEST_INTEGER for x in (left, right)):
        return left, right
    return number(left), number(right)


def power(node: Node, point: Mapping[str, Fraction]) -> Number:
    """Raise to a power; exact where the result is rational and not huge."""
    return raise_to(*(value(part, point) for part in node.parts))


def raise_to(base: Number, exponent: Number) -> Number:
    """Return a power; for a negative base with a root of odd degree, the real one.

    Raises Unknown for exponents that are too large.
    """
    if abs(exponent) > LARGEST_EXPONENT:
        raise Unknown("exponent")
    if not isinstance(exponent, Fraction) or isinstance(base, mp.mpc):
        return number(base) ** number(exponent)
    above, degree = exponent.numerator, exponent.denominator
    if base < 0 and degree % 2 and degree > 1:
        return (-1) ** above * raise_to(-base, exponent)
    if isinstance(base, Fraction):
        exact = base if degree == 1 else exact_root(base, degree)
        if exact is not None and bits(exact) * abs(above) < LARGEST_INTEGER:
            return exact**above
    return number(base) ** number(exponent)


def bits(x: Fraction) -> int:
    """Return the bits of a fraction's numerator or denominator, whichever are more."""
    return max(x.numerator.bit_length(), x.denominator.bit_length())


def root(node: Node, point: Mapping[str, Fraction]) -> Number:
    """Return a root of a numerical degree."""
    base, degree = (value(part, point) for part in node.parts)
    if not isinstance(degree, Fraction) or degree.denominator != 1 or not 2 <= degree <= 1000:
        raise Unknown("degree")
    return raise_to(base, 1 / degree)


def exact_root(base: Fraction, degree: int) -> Fraction | None:
    """Return a positive rational root, if there is one."""
    if base < 0:
        return None
    above, below = integer_root(base.numerator, degree), integer_root(base.denominator, degree)
    return None if above is None or below is None else Fraction(above, below)


def integer_root(n: int, degree: int) -> int | None:
    """Return the integer whose power is `n`, if there is one."""
    if degree >= n.bit_length():
        return n if n < 2 else None
    if degree == 2:
        guess = math.isqrt(n)
    elif n.bit_length() < 3 * DIGITS:
        guess = int(mp.nint(mp.root(n, degree)))
    else:
        return None
    return guess if guess**degree == n else None


def function(node: Node, point: Mapping[str, Fraction]) -> Number:
    """Apply a function of the grammar."""
    values = [value(part, point) for part in node.parts]
    if node.value in EXACT:
        return EXACT[node.value](*values)
    if any(abs(x) > LARGEST_ARGUMENT for x in values):
        raise Unknown("argument")
    return FUNCTIONS[node.value](*map(number, values))


def applied(node: Node, point: Mapping[str, Fraction]) -> Number:
    """Return a pseudo-random value of a named function, such as f(x).

    Equal names and arguments give equal values.
    """
    arguments = [mp.nstr(number(value(part, point)), TOLERANCE) for part in node.parts]
    return coordinate(f"{node.value}({arguments})", 0)


def factorial(n: Number) -> Number:
    """Return n! of a number that is not huge."""
    if isinstance(n, Fraction) and n.denominator == 1 and 0 <= n <= 1000:
        return Fraction(math.factorial(n.numerator))
    if abs(n) > LARGEST_EXPONENT:
        raise Unknown("factorial")
    return mp.gamma(number(n + 1))


def binomial(n: Number, k: Number) -> Number:
    """Return a binomial coefficient of numbers that are not huge."""
    if abs(n) > LARGEST_EXPONENT or abs(k) > LARGEST_EXPONENT:
        raise Unknown("binomial")
    integral = all(isinstance(x, Fraction) and x.denominator == 1 and x >= 0 for x in (n, k))
    if integral and n <= 1000:
        return Fraction(math.comb(n.numerator, k.numerator))
    return mp.gamma(number(n + 1)) / (mp.gamma(number(k + 1)) * mp.gamma(number(n - k + 1)))


def integers(function: Callable[..., int]) -> Callable[..., Fraction]:
    """Return a function of whole numbers as one of fractions."""

    def of_fractions(*values: Number) -> Fraction:
        if any(not isinstance(x, Fraction) or x.denominator != 1 for x in values):
            raise Unknown("whole numbers")
        return Fraction(function(*(x.numerator for x in values)))

    return of_fractions


def nearest(function: Callable[[Number], int]) -> Callable[[Number], Fraction]:
    """Return floor or ceiling of a real number that is not huge."""

    def of_real(x: Number) -> Fraction:
        if abs(x) > LARGEST_ARGUMENT:
            raise Unknown("floor")
        return Fraction(int(function(x)))

    return of_real


EXACT: dict[str, Callable[..., Number]] = {
    "factorial": factorial,
    "binom": binomial,
    "gcd": integers(math.gcd),
    "lcm": integers(math.lcm),
    "abs": abs,
    "floor": nearest(lambda x: math.floor(x) if isinstance(x, Fraction) else mp.floor(x)),
    "ceil": nearest(lambda x: math.ceil(x) if isinstance(x, Fraction) else mp.ceil(x)),
}
RULES: dict[str, Rule] = {
    "number": lambda node, point: Fraction(node.value),
    "repeating": lambda node, point: node.value,
    "mixed": folded(add),
    "constant": lambda node, point: CONSTANTS[node.value],
    "name": lambda node, point: point[node.value],
    "applied": applied,
    "sum": folded(add),
    "minus": lambda node, point: -value(node.parts[0], point),
    "product": folded(mul),
    "quotient": folded(truediv),
    "power": power,
    "root": root,
    "function": function,
    "quantity": lambda node, point: (
        number(value(node.parts[0], point)) * mp.pi / 180
        if node.value == "degree"
        else unknown(node)
    ),
}
