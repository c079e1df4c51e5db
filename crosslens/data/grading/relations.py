r"""Compare two items of answers: named values, inequalities, equations."""

from crosslens.data.grading.equality import decimal, rounds_to, same, without_unit
from crosslens.data.grading.forms import is_finished, key
from crosslens.data.grading.reader import Node
from crosslens.data.grading.syntax import Item
from crosslens.data.grading.values import UNDEFINED, agree, names_of, points, same_value, value

FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}
INFINITY = Node("constant", value="infty")
REALS = Node("tuple", (Node("minus", (INFINITY,)), INFINITY), "()")
ALL_REALS = ("mathbb R", "all real numbers", "all reals", "real numbers")
NEGATIONS = {"not", "no", "never", "wrong", "false", "except", "but"}
NAMED = {"=", r"\in"}


def same_item(answer: Item, gold: Item) -> bool:
    """Compare values, with or without names, or relations."""
    answer, gold = without_approximation(answer), without_approximation(gold)
    if not (is_value(answer) and is_value(gold)):
        return same_relation(answer, gold)
    if answer.relations and gold.relations:
        agreed = same_name(answer, gold)
    elif gold.relations:
        agreed = all(map(is_name, gold.sides[:-1]))
    else:
        agreed = all(may_equal(side, gold.sides[-1]) for side in answer.sides[:-1])
    return (agreed and same(answer.sides[-1], gold.sides[-1])) or same_relation(answer, gold)


def without_approximation(item: Item) -> Item:
    r"""Drop a rounded value after the exact one (`\frac{1}{3} \approx 0.33`).

    If only a name precedes it, the rounded value is the answer.
    """
    if r"\approx" not in item.relations or item.relations.index(r"\approx") < len(item.sides) - 2:
        return item
    exact, rounded = (without_unit(side)[0] for side in item.sides[-2:])
    if is_name(exact):
        return item._replace(relations=(*item.relations[:-1], "="))
    digits = decimal(rounded)
    if digits is None or not rounds_to(digits, exact):
        return item
    return Item(item.sides[:-1], item.relations[:-1])


def is_value(item: Item) -> bool:
    r"""Return whether an item is a value: bare, or after `x =` or `x \in`."""
    return {*item.relations} <= {"="} or item.relations == (r"\in",)


def label(item: Item) -> str | None:
    """Return what an item names, if it names something."""
    return key(item.sides[0]) if item.relations and {*item.relations} <= NAMED else None


def same_name(answer: Item, gold: Item) -> bool:
    """Return whether two items name the same; `y = x + 1` and `f(x) = x + 1` do."""
    names = answer.sides[0], gold.sides[0]
    if {name.kind for name in names} == {"name", "applied"}:
        used = names_of(gold.sides[-1]) | names_of(answer.sides[-1])
        return all(name.kind == "applied" or name.value not in used for name in names)
    return key(names[0]) == key(names[1])


def is_name(node: Node) -> bool:
    r"""Return whether a side names what it equals: `x`, `f(x)`, `AB`, `(x, y)`, `\sin A`, words."""
    if node.kind in ("product", "quotient", "tuple", "ratio", "function"):
        return all(map(is_name, node.parts))
    if node.kind == "words":
        return not NEGATIONS & {*node.value.split()}
    return node.kind in ("name", "applied")


def may_equal(side: Node, gold: Node) -> bool:
    r"""Return whether a side of an equation may stand before the answer: `x`, `m+n`, `\frac{4}{2}`.

    A side that has a value must have the gold answer's value.
    """
    letter = side.kind == "constant" and side.value in ("e", "i")
    total = side.kind == "sum" and all(map(is_name, side.parts))
    return letter or total or is_name(side) or same_value(side, gold)


def same_relation(answer: Item, gold: Item) -> bool:
    """Compare inequalities as intervals, relations side by side, equations up to a factor."""
    left, right = interval(answer), interval(gold)
    if left and right and (left[0] == right[0] or None in (left[0], right[0])):
        return same(left[1], right[1])
    if len(answer.relations) != len(gold.relations) or not answer.relations:
        return False
    for sides, relations in ((answer.sides, answer.relations), flipped(answer)):
        if relations == gold.relations and all(map(same, sides, gold.sides)):
            return True
    return len(gold.relations) == 1 and same_up_to_factor(answer, gold)


def flipped(item: Item) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """Return the sides and relations of a chain from right to left."""
    return item.sides[::-1], tuple(FLIPPED.get(r, r) for r in item.relations[::-1])


def interval(item: Item) -> tuple[str | None, Node] | None:
    """Return the variable and the interval of an inequality, or an interval as it is."""
    if is_value(item):
        bare = item.sides[-1]
        domain = REALS if bare.kind == "words" and bare.value in ALL_REALS else bare
        return (label(item), domain) if domain.kind in ("tuple", "union") else None
    sides, relations = flipped(item) if item.relations[0] in (">", ">=") else item
    if not {*relations} <= {"<", "<="}:
        return None
    low, high, first, second = Node("minus", (INFINITY,)), INFINITY, "<", "<"
    if len(sides) == 3 and is_name(sides[1]):
        (low, name, high), (first, second) = sides, relations
    elif len(sides) == 2 and is_name(sides[0]):
        (name, high), second = sides, relations[0]
    elif len(sides) == 2 and is_name(sides[1]):
        (low, name), first = sides, relations[0]
    else:
        return None
    brackets = ("[" if first == "<=" else "(") + ("]" if second == "<=" else ")")
    return key(name), Node("tuple", (low, high), brackets)


def same_up_to_factor(answer: Item, gold: Item) -> bool:
    """Compare `a = b` with `c = d` by the ratio of the differences of their sides."""
    if not is_finished(Node("sides", answer.sides), Node("sides", gold.sides)):
        return False
    left, right = map(difference, (answer, gold))
    names = names_of(left)
    if not names or names != names_of(right):
        return False
    try:
        ratios = [value(left, at) / value(right, at) for at in points(sorted(names))]
        if not ratios[0] or not all(agree(ratio, ratios[0]) for ratio in ratios):
            return False
        relation = answer.relations[0]
        if relation not in ("=", "!=") and ratios[0] < 0:
            relation = FLIPPED.get(relation, "")
    except UNDEFINED:
        return False
    return relation == gold.relations[0]


def difference(item: Item) -> Node:
    """Return the difference of the sides of a relation."""
    return Node("sum", (item.sides[0], Node("minus", (item.sides[1],))))
