r"""Compare two answers: as texts, or item by item as lists."""

from functools import lru_cache
from typing import NamedTuple

from crosslens.data.grading.equality import same_in_any_order, without_unit
from crosslens.data.grading.notation import Token, Unreadable, readings
from crosslens.data.grading.reader import single
from crosslens.data.grading.relations import is_name, is_value, label, same_item
from crosslens.data.grading.syntax import Item, statements

SHORTEST_WORD = 4  # letters; fewer in a row are variables, unless in `\text`


class Reading(NamedTuple):
    """One way to read an answer: its tokens, and what they state if they are a statement."""

    tokens: list[Token]
    items: list[Item] | None


def is_same(answer: str, gold: str) -> bool:
    """Return whether `answer` equals `gold` and leaves no more to compute."""
    return any(same_reading(a, g) for g in read(gold) for a in read(answer))


@lru_cache(maxsize=4096)
def read(text: str) -> tuple[Reading, ...]:
    """Return the ways to read an answer; none if it has a sign that is not in the grammar."""
    try:
        return tuple(Reading(tokens, stated(tokens)) for tokens in readings(text) if tokens)
    except Unreadable:
        return ()


def stated(tokens: list[Token]) -> list[Item] | None:
    """Return the items that tokens state, or None if they do not follow the grammar."""
    try:
        return elements(statements(tokens))
    except Unreadable:
        return None


def same_reading(answer: Reading, gold: Reading) -> bool:
    """Compare token by token, then as words, then by what they state."""
    own, wanted = answer.tokens, gold.tokens
    if [token.text for token in single(own)] == [token.text for token in single(wanted)]:
        return True
    if is_phrase(own) or is_phrase(wanted):
        if phrase(own) == phrase(wanted):
            return True
        if is_phrase(wanted):
            return False
    if answer.items is None or gold.items is None:
        return False
    return same_items(answer.items, gold.items)


def is_phrase(tokens: list[Token]) -> bool:
    """Return whether a text consists of words only."""
    return all(token.kind in ("letters", "words") for token in tokens) and any(
        token.kind == "words" or len(token.text) >= SHORTEST_WORD for token in tokens
    )


def phrase(tokens: list[Token]) -> str | None:
    """Return the words of a text that consists of words only, else None."""
    if any(token.kind not in ("letters", "words") for token in tokens):
        return None
    return " ".join(token.text.lower() for token in tokens)


def same_items(answer: list[Item], gold: list[Item]) -> bool:
    """Compare equally many items in any order; in the same order if only one side names them."""
    units = [[without_unit(item.sides[-1])[1] for item in items] for items in (answer, gold)]
    if len(answer) != len(gold) or len({*units[0]}) > max(1, len({*units[1]})):
        return False  # not as many, or units here and there
    named = [{*map(label, items)} for items in (answer, gold)]
    if {None} in named and max(map(len, named)) > 1:
        return all(map(same_item, answer, gold))
    return same_in_any_order(answer, gold, same_item)


def elements(items: list[Item]) -> list[Item]:
    """Return the elements of a set, or the items of a list; `x = 1, 2` gives both to x."""
    first, *others = items
    of_names = is_value(first) and all(map(is_name, first.sides[:-1]))
    if not others and of_names and first.sides[-1].kind == "set":
        return [Item((part,)) for part in first.sides[-1].parts]
    if first.relations == ("=",) and not any(item.relations for item in others):
        return [first, *(Item((first.sides[0], *item.sides), ("=",)) for item in others)]
    return items
