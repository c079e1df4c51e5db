"""Read the leaves of an answer's syntax tree from its tokens: numbers, names and units."""

from fractions import Fraction
from typing import Any, NamedTuple

from crosslens.data.grading.notation import Token, Unreadable
from crosslens.data.grading.units import unit_name

END = Token("end", "")
MATRICES = frozenset(("matrix", "pmatrix", "bmatrix", "array"))
LONGEST_NUMBER = 50  # digits; a longer number is compared as text only
SCALES = {"C": "celsius", "F": "fahrenheit"}


class Node(NamedTuple):
    """A part of an answer: its kind, its parts, and what it is itself."""

    kind: str
    parts: tuple["Node", ...] = ()
    value: Any = None


def single(tokens: list[Token]) -> list[Token]:
    """Return tokens in which every letter stands alone."""
    return [
        Token(token.kind, part, token.spaced and not i)
        for token in tokens
        for i, part in enumerate(token.text if token.kind == "letters" else [token.text])
    ]


class Reader:
    """A position in the tokens of an answer."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = single(tokens)
        self.position = 0

    @property
    def token(self) -> Token:
        """Return the next token."""
        return self.ahead(0)

    def ahead(self, count: int) -> Token:
        """Return a later token."""
        at = self.position + count
        return self.tokens[at] if at < len(self.tokens) else END

    def take(self) -> Token:
        """Return the next token and advance."""
        token = self.token
        self.position += 1
        return token

    def skip(self, *texts: str) -> bool:
        """Skip the next token if it is one of these signs or words."""
        if skipped := self.token.text in texts and self.token is not END:
            self.position += 1
        return skipped

    def expect(self, text: str) -> None:
        """Skip a sign. Raises Unreadable if it is missing."""
        if not self.skip(text):
            raise Unreadable(f"{text!r} is missing")

    def digits(self) -> str:
        """Read a number, in braces or not."""
        braces = self.skip("{")
        token = self.take()
        if token.kind != "number":
            raise Unreadable("a number is missing")
        if braces:
            self.expect("}")
        return token.text

    def digit(self) -> str:
        r"""Read the first digit of a number and leave the others: `\frac12` is one half."""
        token = self.take()
        if token.kind != "number" or "." in token.text:
            raise Unreadable("a digit is missing")
        first, rest = token.text[0], token.text[1:]
        if rest:
            self.position -= 1
            self.tokens[self.position] = Token("number", rest)
        return first

    def number(self, token: Token) -> Node:
        r"""Read a number; with a base (`52_8`) or as a mixed number (`1\frac{1}{4}`, `1 1/4`)."""
        if len(token.text) > LONGEST_NUMBER:
            raise Unreadable("too many digits")
        if self.skip("_"):
            return Node("based", value=(token.text, self.digits()))
        whole = Node("number", value=token.text)
        if self.token.text == r"\frac":
            self.take()
            parts = [self.part(), self.part()]
        elif self.token.kind == "number" and self.ahead(1).text == "/":
            parts = [self.take().text, (self.take(), self.digits())[1]]
        else:
            return whole
        if "." in "".join((token.text, *parts)) or not 0 < int(parts[0]) < int(parts[1]):
            raise Unreadable("a number before a fraction")
        above, below = (Node("number", value=part) for part in parts)
        return Node("mixed", (whole, Node("quotient", (above, below))))

    def part(self) -> str:
        """Read the upper or lower half of a numerical fraction."""
        return self.digits() if self.token.text == "{" else self.digit()

    def index(self) -> str:
        """Read a sign, or all that is in braces, as text."""
        if not self.skip("{"):
            return self.take().text
        text = ""
        while not self.skip("}"):
            if self.token is END:
                raise Unreadable("braces without end")
            text += self.take().text
        return text

    def environment(self) -> str:
        """Read the name of a matrix environment."""
        name = self.index()
        if name not in MATRICES:
            raise Unreadable(f"unknown environment {name}")
        return name

    def unit(self) -> str | None:
        """Read a unit, if there is one. Raises Unreadable for words that are not units."""
        if self.skip("%"):
            return "percent"
        if self.skip(r"\degree"):
            return SCALES[self.take().text] if self.token.text in SCALES else "degree"
        if self.skip(r"\$", "$"):
            return "dollar"
        words: list[str] = []
        while self.token.kind == "words" and self.token.text not in ("and", "or"):
            words += self.take().text.replace("/", " / ").split()
            if self.skip("^"):
                words.append(f"^{self.digits()}")
            if self.token.text == "/" and self.ahead(1).kind == "words":
                words.append(self.take().text)
        name = unit_name(words)
        if words and name is None:
            raise Unreadable(f"{' '.join(words)!r} is not a known unit")
        return name


def repeating(text: str) -> Fraction:
    r"""Return the value of `0.1\overline{6}`."""
    digits, _, repeated = text.replace(r"\overline", r"\bar").partition(r"\bar")
    repeated = repeated.strip("{} ")
    places = len(digits.partition(".")[2])
    whole = Fraction(digits if digits.strip(".") else "0")
    return whole + Fraction(int(repeated), (10 ** len(repeated) - 1) * 10**places)
