r"""Parse answers by a closed grammar: every token is read, or the answer is unreadable.

`statements` gives what a box states: one item or several (a list of solutions), each a value or a
chain of relations (`x = 5`, `0 < x \le 3`). Nothing is computed here: `5+3` stays a sum.
"""

from typing import NamedTuple

from crosslens.data.grading.expressions import Expressions
from crosslens.data.grading.notation import Token, Unreadable
from crosslens.data.grading.reader import END, Node

RELATIONS = ("=", "<", ">", "<=", ">=", "!=", r"\in", r"\approx")


class Item(NamedTuple):
    """A value, or the sides of a chain of relations and the relations between them."""

    sides: tuple[Node, ...]
    relations: tuple[str, ...] = ()


def statements(tokens: list[Token]) -> list[Item]:
    """Return the items that an answer states. Raises Unreadable."""
    parser = Parser(tokens)
    items = parser.items()
    if parser.token is not END:
        raise Unreadable(f"{parser.token.text!r} after the answer")
    return items


def is_number(node: Node) -> bool:
    """Return whether a value is a number, with or without sign and unit."""
    return node.kind == "number" or (
        node.kind in ("minus", "quantity") and is_number(node.parts[0])
    )


class Parser(Expressions):
    """A recursive-descent parser over the tokens of one answer."""

    def items(self) -> list[Item]:
        """Read items up to the end or a closing bracket."""
        items = self.item()
        while self.separator():
            items += self.item()
        return items

    def separator(self) -> bool:
        """Skip a comma, a semicolon, "and" or "or", or a comma and one of these words."""
        comma = self.skip(",", ";")
        word = self.token.kind == "words" and self.skip("and", "or")
        return comma or word

    def item(self) -> list[Item]:
        """Read one item; two where it has a ±."""
        start, outer = self.position, self.both
        self.both = False
        items = [self.relation()]
        if self.both and not self.minus:
            self.position, self.minus = start, True
            items.append(self.relation())
            self.minus = False
        self.both = outer
        return items

    def relation(self) -> Item:
        """Read a side, or sides with relations between them."""
        rounded = self.skip(r"\approx")
        sides, relations = [self.side()], []
        if rounded and not is_number(sides[0]):
            raise Unreadable("a rounded value that is not a number")
        while self.token.text in RELATIONS:
            relations.append(self.take().text)
            sides.append(self.side())
        return Item(tuple(sides), tuple(relations))

    def side(self) -> Node:
        r"""Read a value, a ratio (`2:3`) or a union of sets."""
        parts = [self.quantity()]
        for sign, kind in ((":", "ratio"), (r"\cup", "union")):
            while self.skip(sign):
                parts.append(self.quantity())
            if len(parts) > 1:
                return Node(kind, tuple(parts))
        return parts[0]

    def quantity(self) -> Node:
        """Read words, or an expression and its unit."""
        if self.token.kind == "words":
            return Node("words", value=self.take().text)
        negative = self.ahead(1).text == r"\$" and self.skip("-")
        dollars = self.skip(r"\$", "$")
        value, unit = self.sum(), self.unit()
        value = Node("minus", (value,)) if negative else value
        if dollars and unit:
            raise Unreadable("two units")
        unit = "dollar" if dollars else unit
        return Node("quantity", (value,), unit) if unit else value

    def several(self, closing: str) -> tuple[Node, ...]:
        """Read values with commas between them, and the bracket that closes them."""
        values = [self.side()]
        while self.skip(",", ";"):
            values.append(self.side())
        self.expect(closing)
        return tuple(values)

    def bracket(self, opening: str) -> Node:
        """Read a group, a tuple, an interval or a set; its opening bracket is read."""
        if opening == r"\{":
            items = [] if self.token.text == r"\}" else self.items()
            self.expect(r"\}")
            if any(item.relations for item in items):
                raise Unreadable("a relation within a set")
            return Node("set", tuple(item.sides[0] for item in items))
        parts = [self.side()]
        while self.skip(",", ";"):
            parts.append(self.side())
        if not self.skip(")", "]"):
            raise Unreadable("a bracket without end")
        pair = opening + self.tokens[self.position - 1].text
        if len(parts) > 1:
            return Node("tuple", tuple(parts), pair)
        if pair not in ("()", "[]"):
            raise Unreadable("brackets that do not match")
        return parts[0]

    def matrix(self) -> Node:
        """Read the rows of a matrix."""
        kind = self.environment()
        if kind == "array":
            self.index()  # how the columns are aligned
        rows = [self.row()]
        while self.skip("\\\\") and self.token.text != r"\end":
            rows.append(self.row())
        self.expect(r"\end")
        if self.environment() != kind:
            raise Unreadable("a matrix without end")
        return Node("matrix", tuple(rows))

    def row(self) -> Node:
        """Read the entries of a row of a matrix."""
        entries = [self.sum()]
        while self.skip("&"):
            entries.append(self.sum())
        return Node("row", tuple(entries))
