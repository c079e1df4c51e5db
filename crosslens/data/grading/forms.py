r"""Check how far an answer is worked out: which steps it leaves to do.

An answer may leave only those steps to do that the gold answer leaves, too. So `5+3` does not count
as 8, `\sqrt{1764}` not as 42, and `(x+1)(x+2)` not as `x^2+3x+2`: otherwise, repeating the question
would be an answer.
"""

from collections import Counter
from fractions import Fraction
from itertools import takewhile
from math import gcd

from crosslens.data.grading.reader import Node
from crosslens.data.grading.values import names_of, rational

TRIED_FACTORS = 1000
MOST_FACTORS = 100
IMAGINARY = Node("constant", value="i")


def is_finished(answer: Node, gold: Node) -> bool:
    """Return whether `answer` leaves no step to do that `gold` does not leave.

    With variables, a product of sums must remain one, with the same number of factors. A product of
    numbers, as in a factorization, must have the same factors.
    """
    if gold.kind == "product" and rational(gold) is not None and not is_scientific(gold):
        return False
    left, allowed = steps(answer), steps(gold)
    if gold.kind == "sides":
        del left["term"]  # terms may change sides
    if names_of(gold) and left["expand"] != allowed["expand"]:
        return False
    return left <= allowed


def steps(node: Node) -> Counter[str]:
    """Return the steps that an expression leaves to do, by kind."""
    if is_scientific(node):
        return Counter()
    counts = Counter(OWN[node.kind](node)) if node.kind in OWN else Counter()
    return sum(map(steps, node.parts), counts)


def key(node: Node) -> str:
    """Return text that is equal for expressions that differ only in the order of their parts."""
    if node.kind in ("sum", "product"):
        return f"{node.kind}({', '.join(sorted(key(part) for part in flat(node)))})"
    own = Fraction(node.value) if node.kind == "number" else node.value
    return f"{node.kind} {own}({', '.join(map(key, node.parts))})"


def flat(node: Node) -> list[Node]:
    """Return the terms of a sum or the factors of a product, those of its parts included."""
    parts = []
    for part in node.parts:
        parts += flat(part) if part.kind == node.kind else [part]
    return parts


def split(node: Node) -> tuple[Fraction, list[str]]:
    """Return the rational coefficient of a term, and keys of its other factors."""
    if (own := rational(node)) is not None:
        return own, []
    if node.kind == "minus":
        coefficient, rest = split(node.parts[0])
        return -coefficient, rest
    if node.kind == "product":
        halves = [split(part) for part in node.parts]
        coefficient = Fraction(1)
        for half in halves:
            coefficient *= half[0]
        return coefficient, sorted(name for half in halves for name in half[1])
    if node.kind == "quotient":
        (above, names), (below, others) = map(split, node.parts)
        if below:
            return above / below, sorted(names + [f"1/{name}" for name in others])
    return Fraction(1), [key(node)]


def content(node: Node) -> Fraction:
    """Return the greatest rational number that divides an expression's coefficients."""
    terms = flat(node) if node.kind == "sum" else [node]
    divisor = Fraction(0)
    for coefficient in (abs(split(term)[0]) for term in terms):
        below = divisor.denominator * coefficient.denominator
        divisor = Fraction(gcd(int(divisor * below), int(coefficient * below)), below)
    return divisor


def is_scientific(node: Node) -> bool:
    r"""Return whether a number is written as `1.2 \times 10^{5}`."""
    if node.kind != "product" or len(node.parts) != 2:
        return False
    first, second = node.parts
    return (
        first.kind == "number"
        and 1 <= Fraction(first.value) < 10
        and second.kind == "power"
        and second.parts[0] == Node("number", value="10")
        and rational(second) is not None
    )


def of_sum(node: Node) -> list[str]:
    """Add numbers, collect like terms, multiply out, find a common denominator."""
    terms = flat(node)
    rests = [tuple(split(term)[1]) for term in terms]
    numbers = rests.count(())
    like = len(rests) - numbers - len({rest for rest in rests if rest})
    return [
        *["term"] * (len(terms) - 1),
        *["arithmetic"] * (numbers - 1),
        *["like terms"] * like,
        *["multiply out" for term in terms if has_sum(term)],
        *["common denominator" for term in terms if has_names_below(term)],
    ]


def has_sum(term: Node) -> bool:
    """Return whether a sum is a factor of a term, or is above its fraction bar."""
    parts = term.parts[:1] if term.kind in ("quotient", "power") else term.parts
    return term.kind == "sum" or (
        term.kind in ("minus", "product", "quotient", "power") and any(map(has_sum, parts))
    )


def has_names_below(node: Node) -> bool:
    """Return whether a term is divided by something with variables."""
    if node.kind in ("minus", "product"):
        return any(map(has_names_below, node.parts))
    return node.kind == "quotient" and bool(names_of(node.parts[1]))


def of_minus(node: Node) -> list[str]:
    """Resolve two signs."""
    return ["arithmetic"] * (node.parts[0].kind == "minus")


def of_product(node: Node) -> list[str]:
    """Multiply numbers, powers, roots and sums."""
    factors = flat(node)
    sizes = [abs(split(part)[0]) for part in factors]
    others = [part for part in factors if rational(part) is None]
    names = [name for part in others for name in bases(part)]
    sums = [part for part in others if part.kind == "sum"]
    free = len(sums) == 1 == len(others) and not names_of(node)  # 2(1+\sqrt{3}) is 2+2\sqrt{3}
    useless = sum(rational(part) in (0, 1) for part in factors)
    return [
        *["arithmetic"] * (max(sum(size != 1 for size in sizes) - 1, 0) + useless),
        *["powers"] * (len(names) - len({*names})),
        *["roots"] * (sum(map(is_root, others)) - 1),
        *["expand"] * (0 if free else len(sums)),
    ]


def bases(node: Node) -> list[str]:
    """Return keys of what is multiplied, divided and raised to powers in a factor, sums apart."""
    if node.kind in ("minus", "product", "quotient"):
        return [name for part in node.parts for name in bases(part)]
    if node.kind == "power":
        return bases(node.parts[0])
    return [] if node.kind == "sum" or rational(node) is not None else [key(node)]


def is_root(node: Node) -> bool:
    """Return whether a factor is a root, also as a power."""
    exponent = rational(node.parts[1]) if node.kind == "power" else None
    return node.kind == "root" or (exponent is not None and exponent.denominator > 1)


def of_quotient(node: Node) -> list[str]:
    """Divide numbers, cancel factors, take roots out of the denominator."""
    above, below = node.parts
    if names_of(below):
        return cancelled(above, below) + ["divide"] * degree(below)
    integral = all(part.kind == "number" and "." not in part.value for part in strip(above, below))
    if rational(node) is not None and not integral:
        return ["arithmetic"]
    sizes = content(above), content(below)
    if integral:
        return ["reduce"] * (sizes[1] == 1 or gcd(*map(int, sizes)) > 1)
    return cancelled(above, below) + ["denominator"] * has_root(below)


def cancelled(above: Node, below: Node) -> list[str]:
    """Cancel what both halves of a fraction have."""
    first, second = content(above), content(below)
    common = {*split(above)[1]} & {*split(below)[1]}
    return [
        *["arithmetic"] * (first.denominator > 1 or second.denominator > 1),
        *["reduce"] * (second == 0 or gcd(first.numerator, second.numerator) > 1 or bool(common)),
    ]


def degree(node: Node) -> int:
    """Return the degree of an expression in its variables."""
    if node.kind == "power":
        exponent = abs(rational(node.parts[1]) or Fraction())
        return int(degree(node.parts[0]) * min(exponent, Fraction(MOST_FACTORS)))
    if node.kind in ("sum", "minus", "quotient"):
        return max(map(degree, node.parts))
    if node.kind == "product":
        return sum(map(degree, node.parts))
    return int(bool(names_of(node)))


def strip(*nodes: Node) -> list[Node]:
    """Return nodes without their signs."""
    return [node.parts[0] if node.kind == "minus" else node for node in nodes]


def has_root(node: Node) -> bool:
    """Return whether a root or the imaginary unit is in an expression."""
    return is_root(node) or node == IMAGINARY or any(map(has_root, node.parts))


def of_power(node: Node) -> list[str]:
    """Compute a power, multiply exponents, multiply out."""
    base, exponent = node.parts
    times = rational(exponent)
    if rational(node) is not None or times in (0, 1) or base == IMAGINARY:
        return ["arithmetic"]
    if times is not None and is_root(node):
        return taken_out(base, times.denominator)
    if base.kind in ("power", "product", "quotient", "root", "minus"):
        return ["powers"]
    if base.kind == "sum" and times is not None and times > 1:
        copies = min(int(times), MOST_FACTORS)
        return ["expand"] * copies + ["term"] * (copies - 1) * (len(flat(base)) - 1)
    if times is not None and times < 0:
        return ["divide"] * degree(node)
    return ["function exp"] * (not names_of(node) and has_root(exponent))


def of_root(node: Node) -> list[str]:
    """Compute a root, take factors out of it."""
    inner, degree = node.parts
    times = rational(degree) or Fraction(2)
    negative = (rational(inner) or 0) < 0 and times % 2 == 0
    return (
        ["arithmetic"] if negative or rational(node) is not None else taken_out(inner, int(times))
    )


def taken_out(inner: Node, degree: int) -> list[str]:
    """Take factors out of a root of some degree."""
    size = content(inner)
    left = ["roots"] * (inner.kind in ("quotient", "power") or size.denominator > 1)
    left += ["roots"] * has_power(size.numerator, degree)
    return left + ["nested root"] * (not names_of(inner) and has_root(inner))


def has_power(n: int, degree: int) -> bool:
    """Return whether a power of a small number divides `n`."""
    if not 1 < degree < n.bit_length():
        return False
    tried = takewhile(lambda factor: factor**degree <= n, range(2, TRIED_FACTORS))
    return any(n % factor**degree == 0 for factor in tried)


def of_function(node: Node) -> list[str]:
    """Compute a function."""
    return [f"function {node.value}", *["arithmetic"] * (rational(node) is not None)]


OWN = {
    "sum": of_sum,
    "minus": of_minus,
    "product": of_product,
    "quotient": of_quotient,
    "power": of_power,
    "root": of_root,
    "function": of_function,
    "repeating": lambda node: ["repeating decimal"],
}
