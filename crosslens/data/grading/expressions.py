r"""Parse expressions (sums, products, powers, roots and functions) without computing them."""

from abc import ABC, abstractmethod

from crosslens.data.grading.notation import Token, Unreadable
from crosslens.data.grading.reader import Node, Reader, repeating

DEEPEST = 30  # brackets, roots and fractions within each other
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp gcd lcm".split()
)
LETTERS = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi "
    "rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi "
    "Omega ell".split()
)
MARKS = frozenset(("angle", "triangle", "overline", "vec", "hat", "bar"))
APPLIED = frozenset("fghFGHPQpq")  # letters before a bracket that name a function
FENCES = {r"\lfloor": r"\rfloor", r"\lceil": r"\rceil", "|": "|"}
OPENERS = frozenset(
    (r"\frac", r"\sqrt", r"\binom", r"\pi", r"\infty", r"\begin", r"\lfloor", r"\lceil")
)
SIGNS = ("+", "-", r"\pm", r"\mp")


def join(left: Node, right: Node) -> Node:
    """Return a product with one more factor."""
    factors = left.parts if left.kind == "product" else (left,)
    return Node("product", (*factors, right))


class Expressions(Reader, ABC):
    """A recursive-descent parser over the tokens of an expression."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.depth = 0
        self.minus = False  # whether ± is read as -
        self.both = False  # whether a ± was read
        self.bars = 0  # open absolute values

    @abstractmethod
    def bracket(self, opening: str) -> Node:
        """Read what is in brackets; the opening one is read."""

    @abstractmethod
    def several(self, closing: str) -> tuple[Node, ...]:
        """Read arguments with commas between them, and the bracket that closes them."""

    @abstractmethod
    def matrix(self) -> Node:
        """Read a matrix."""

    def sum(self) -> Node:
        """Read terms with signs between them; only the first may have a sign of its own."""
        terms = [self.signed()]
        while self.token.text in SIGNS:
            terms.append(self.signed())
        return terms[0] if len(terms) == 1 else Node("sum", tuple(terms))

    def signed(self) -> Node:
        """Read a term with or without a sign."""
        sign = self.take().text if self.token.text in SIGNS else "+"
        self.both |= sign in (r"\pm", r"\mp")
        term = self.term()
        negative = sign in ("-", r"\pm" if self.minus else r"\mp")
        return Node("minus", (term,)) if negative else term

    def term(self) -> Node:
        """Read a product or quotient."""
        product, divided = self.factor(), False
        while True:
            if self.skip("*"):
                product, divided = join(product, self.factor()), False
            elif self.skip("/"):
                product, divided = Node("quotient", (product, self.factor())), True
            elif self.starts_factor() or self.continues_powers(product):
                if divided:
                    raise Unreadable("1/2x may mean two things")
                product = join(product, self.factor())
            else:
                return product

    def starts_factor(self) -> bool:
        """Return whether a factor follows without a sign between."""
        kind, text = self.token.kind, self.token.text
        if kind == "command":
            return text[1:] in FUNCTIONS | LETTERS or text in OPENERS
        if text == "|":
            later = [token.text for token in self.tokens[self.position + 1 :]]
            return not self.bars and "|" in later
        return kind == "letters" or text in ("(", "{")

    def continues_powers(self, product: Node) -> bool:
        """Return whether a power of a number follows another: `2^3 3^2`."""
        last = product.parts[-1] if product.kind == "product" else product
        powers = last.kind == "power" and last.parts[0].kind == "number"
        return powers and self.token.kind == "number" and self.ahead(1).text == "^"

    def factor(self) -> Node:
        """Read a primary with powers and factorials."""
        base = self.primary()
        while True:
            if self.skip("^"):
                base = Node("power", (base, self.exponent()))
                if self.token.text == "^":
                    raise Unreadable("2^3^4 may mean two things")
            elif self.skip("!"):
                base = Node("function", (base,), "factorial")
            else:
                return base

    def exponent(self) -> Node:
        """Read a letter, a number with or without sign, a command or a group."""
        if self.token.text == "-" and self.ahead(1).kind == "number":
            self.take()
            return Node("minus", (self.primary(),))
        return self.primary()

    def primary(self) -> Node:
        """Read a number, a name, a command or a group."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("too deep")
        node = self.part_of(self.take())
        self.depth -= 1
        return node

    def part_of(self, token: Token) -> Node:
        """Read what a token begins; the token is read."""
        if token.kind == "number":
            return self.number(token)
        if token.kind == "repeating":
            return Node("repeating", value=repeating(token.text))
        if token.kind == "letters" or token.text[1:] in LETTERS:
            return self.name(token.text)
        if token.text in FENCES:
            return self.fence(token.text)
        if token.kind == "command":
            return self.command(token.text[1:])
        if token.text == "{":
            return self.group("}")
        if token.text in ("(", "[", r"\{"):
            return self.bracket(token.text)
        raise Unreadable(f"unexpected {token.text!r}")

    def name(self, letter: str) -> Node:
        """Read a variable with its index and primes, or a function of such a name."""
        if letter in ("e", "i") and self.token.text not in ("_", "'"):
            return Node("constant", value=letter)
        if self.skip("_"):
            letter += "_" + self.index()
        while self.skip("'"):
            letter += "'"
        if letter[0] in APPLIED and self.skip("("):
            return Node("applied", self.several(")"), letter)
        return Node("name", value=letter)

    def command(self, name: str) -> Node:
        """Read what a command needs. Raises Unreadable for one that the grammar does not have."""
        if name == "frac":
            return Node("quotient", (self.argument(), self.argument()))
        if name == "binom":
            return Node("function", (self.argument(), self.argument()), name)
        if name == "sqrt":
            degree = self.group("]") if self.skip("[") else Node("number", value="2")
            return Node("root", (self.argument(), degree))
        if name in ("pi", "infty"):
            return Node("constant", value=name)
        if name in ("emptyset", "mathbb"):
            return Node("words", value=name if name == "emptyset" else f"mathbb {self.index()}")
        if name in FUNCTIONS:
            return self.function(name)
        if name in MARKS:
            return self.marked(name)
        if name == "begin":
            return self.matrix()
        raise Unreadable(f"unknown command {name}")

    def marked(self, mark: str) -> Node:
        r"""Read letters under a mark (`\overline{AB}`) or after one (`\angle ABC`)."""
        letters = self.index()
        while mark in ("angle", "triangle") and self.token.kind == "letters":
            letters += self.take().text
        if not letters.isalpha():
            raise Unreadable(f"{mark} of {letters!r}")
        return Node("name", value=f"{mark} {letters}")

    def argument(self) -> Node:
        """Read a group, or one sign."""
        if self.skip("{"):
            return self.group("}")
        return Node("number", value=self.digit()) if self.token.kind == "number" else self.primary()

    def group(self, closing: str) -> Node:
        """Read one expression up to a closing bracket; the opening one is read."""
        bars, self.bars = self.bars, 0
        inner = self.sum()
        self.expect(closing)
        self.bars = bars
        return inner

    def fence(self, opening: str) -> Node:
        """Read an absolute value, floor or ceiling."""
        bars, self.bars = self.bars, opening == "|"
        inner = self.sum()
        self.expect(FENCES[opening])
        self.bars = bars
        return Node("function", (inner,), {"|": "abs"}.get(opening, opening[2:]))

    def function(self, name: str) -> Node:
        """Read a function's base, power and argument."""
        base = (self.argument(),) if self.skip("_") else ()
        power = self.exponent() if self.skip("^") else None
        if self.skip("("):
            parts = self.several(")")
        elif self.skip("{"):
            parts = (self.group("}"),)
        else:
            parts = (self.operand(),)
        if self.skip(r"\degree"):
            parts = (Node("quantity", parts, "degree"),)
        node = Node("function", (*parts, *base), name)
        return node if power is None else Node("power", (node, power))

    def operand(self) -> Node:
        r"""Read what a function without brackets applies to: `\sin 2x`."""
        product = self.factor()
        while self.token.kind == "letters" or self.token.text in (r"\pi", r"\theta", r"\sqrt"):
            product = join(product, self.factor())
        return product
