r"""Convert LaTeX to tokens: drop what is only layout, and refuse anything unknown.

Dropped are spaces, sizes of brackets, colours, emphasis, invisible text, dollar signs around the
answer and a final full stop. Synonyms (`\dfrac`, `\leq`, `≤`) become one token.
"""

import re
from typing import NamedTuple

from crosslens.data.grading.units import WORDS

LONGEST = 1000  # characters; a longer answer is compared as text only


class Unreadable(ValueError):
    """Raised for text that does not follow the grammar."""


class Token(NamedTuple):
    """A number, letters, words (`\\text`), command or sign; `spaced` where a space is before it."""

    kind: str
    text: str
    spaced: bool = False


SIGNS = str.maketrans(
    {
        "−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "∕": "/",
        "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ",
        "π": r"\pi ", "θ": r"\theta ", "√": r"\sqrt ", "∞": r"\infty ", "∪": r"\cup ",
        "∈": r"\in ", "∅": r"\emptyset ", "±": r"\pm ", "∓": r"\mp ", "°": r"\degree ",
        "²": "^2", "³": "^3", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
        "€": r"\text{euros}", "£": r"\text{pounds}", "¢": r"\text{cents}",
        "\n": " ", "\t": " ", "\r": " ", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "′": "'",
    }
)  # fmt: skip
GROUPS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:\{,\}|,\\!\s*|\\!,|\\[,;: ]|~| )\d{3})+(?![\d])")
COMMAS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
DROPPED = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|underline|mathbf|boldsymbol|bm|bf|"
    r"limits|!)(?![a-zA-Z])"
    r"|\\(?:text)?color\s*\{\w+\}|\\[hv]?phantom\s*\{[^{}]*\}"
)
SPACES = re.compile(r"(?<!\\)\\(?:[,;: ]|q?quad(?![a-zA-Z]))|~|\s+")
DEGREE = re.compile(r"\^\s*(?:\\circ(?![a-zA-Z])|\{\s*\\circ\s*\}|\\degree(?![a-zA-Z]))")
DOLLAR = re.compile(r"(?<!\\)\$")
PREFIX = re.compile(r"^(?:the +)?(?:final +)?answer(?: +is)?\b *:? *(?=.)", re.IGNORECASE)
WRAPPINGS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"))
TEXT = (
    r"\\(?:text(?:normal|rm|bf|it|sf)?|mbox|hbox|mathrm|mathit|operatorname)\s*"
    r"\{(?P<content>[^{}$\\]*)\}"
)
TOKEN = re.compile(
    rf"(?P<space> +)|(?P<words>{TEXT})"
    r"|(?P<repeating>\d*\.\d*\\(?:overline|bar)\s*\{?\d+\}?)"
    r"|(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<letters>[A-Za-z]+)|(?P<command>\\[A-Za-z]+)"
    r"|(?P<sign>\\\\|\\[{}|%$]|!=|<=|>=|\*\*|[-+*/^_=<>(){}\[\],;:|!'&%$])",
    re.ASCII,
)
SYNONYMS = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\dbinom": r"\binom",
    r"\tbinom": r"\binom", r"\cdot": "*", r"\times": "*", r"\ast": "*", r"\div": "/",
    r"\le": "<=", r"\leq": "<=", r"\leqslant": "<=", r"\ge": ">=", r"\geq": ">=",
    r"\geqslant": ">=", r"\lt": "<", r"\gt": ">", r"\ne": "!=", r"\neq": "!=", "**": "^",
    r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lvert": "|", r"\rvert": "|", r"\vert": "|",
    r"\varnothing": r"\emptyset", r"\degrees": r"\degree", r"\%": "%", r"\colon": ":",
    r"\lbrack": "[", r"\rbrack": "]", r"\lor": "or", r"\vee": "or",
}  # fmt: skip
PLAIN = {name: f"\\{name}" for name in "sqrt pi sin cos tan log ln exp theta".split()} | {
    "inf": r"\infty", "infinity": r"\infty", "oo": r"\infty",
}  # fmt: skip
INLINE = re.compile(r"\(?[A-Za-z]\)?|[A-Z](?:, ?[A-Z])+|[\d.,]+|\(?[ivx]+\)")


def readings(text: str) -> list[list[Token]]:
    """Return the tokens of an answer; two readings if a comma may group digits or separate items.

    Raises Unreadable.
    """
    text = clean(text)
    grouped = COMMAS.sub(join_digits, text)
    if grouped == text:
        return [tokens(text)]
    if re.search(r",0", text):
        return [tokens(grouped)]
    return [tokens(grouped), tokens(text)]


def join_digits(match: re.Match) -> str:
    r"""Drop the commas of a grouped number, except in brackets, where they separate items."""
    before = match.string[: match.start()]
    inside = sum(before.count(sign) for sign in ("(", "[", r"\{"))
    inside -= sum(before.count(sign) for sign in (")", "]", r"\}"))
    return match[0] if inside > 0 else match[0].replace(",", "")


def clean(text: str) -> str:
    """Drop what is only layout. Raises Unreadable for control and bidirectional characters."""
    if len(text) > LONGEST:
        raise Unreadable("too long")
    text = text.translate(SIGNS)
    if not text.isprintable():
        raise Unreadable("control character")
    if r"\begin" not in text:
        text = text.replace("\\\\", "\\")  # as the harness does
    text = unwrap(text)
    text = GROUPS.sub(lambda match: re.sub(r"\D", "", match[0]), text)
    if len(dollars := DOLLAR.findall(text)) > 1 and len(dollars) % 2 == 0:
        text = DOLLAR.sub(" ", text)
    text = SPACES.sub(" ", DROPPED.sub("", text))
    return unwrap(DEGREE.sub(r"\\degree ", text))


def unwrap(text: str) -> str:
    """Strip a final full stop, "the answer is", and dollar signs or braces around everything."""
    before = None
    while text != before:
        before, text = text, PREFIX.sub("", text.strip())
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1]
        for opening, closing in WRAPPINGS:
            if text.startswith(opening) and text.endswith(closing):
                inner = text[len(opening) : len(text) - len(closing)]
                text = text if opening in inner else inner
        if text.startswith("{") and text.endswith("}") and closes_last(text):
            text = text[1:-1]
    return text


def closes_last(text: str) -> bool:
    """Return whether the first brace is closed by the last one."""
    depth = 0
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.end() == len(text)
    return False


def tokens(text: str) -> list[Token]:
    """Split a cleaned text. Raises Unreadable for a sign that is not in the grammar."""
    result: list[Token] = []
    position, spaced = 0, False
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise Unreadable(f"unknown sign {text[position]!r}")
        position = match.end()
        if match.lastgroup == "space":
            spaced = True
            continue
        result += token_of(match, spaced, result[-1] if result else None)
        spaced = False
    return result


def token_of(match: re.Match, spaced: bool, before: Token | None) -> list[Token]:
    """Return the token of a match; those of its content for a letter or number in `\\text`."""
    kind, text = str(match.lastgroup), match[0]
    if match["words"] is not None:
        return words(match["content"], spaced, before)
    if kind == "letters":
        if text in PLAIN:
            return [Token("command", PLAIN[text], spaced)]
        if text in ("and", "or") or (
            text.lower() in WORDS
            and (len(text) > 2 or (spaced and len(text) == 2))
            and before
            and before.kind in ("number", "words")
        ):
            return [Token("words", text.lower(), spaced)]
    if text in SYNONYMS:
        text = SYNONYMS[text]
        kind = "words" if text == "or" else "command" if text[1:].isalpha() else "sign"
    return [Token(kind, text, spaced)]


def words(content: str, spaced: bool, before: Token | None) -> list[Token]:
    """Return words as one token, lower-case and without full stops; single letters as letters.

    After a number a letter is a unit (`5 \\text{ m}`), except i and e.
    """
    content = " ".join(content.split())
    if content.strip(", ") in ("and", "or"):
        content = content.strip(", ")
    constant = content in ("i", "e")
    if content and INLINE.fullmatch(content) and (constant or not follows_number(before)):
        return tokens(content)
    if len(content) > 1:
        content = content.lower()
    return [Token("words", content.replace(".", ""), spaced)] if content else []


def follows_number(before: Token | None) -> bool:
    """Return whether a unit may stand here."""
    return before is not None and (before.kind in ("number", "words") or before.text in ("}", ")"))
