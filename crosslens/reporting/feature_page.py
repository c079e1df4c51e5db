"""The page of feature cards: a table to sort, and a card for each feature."""

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

KINDS = {  # as `ContextPool.of_feature` names them
    "strongest": "Strongest activations, one per text",
    "level_1": "Drawn at random from the strongest octave",
    "level_2": "Drawn from the second octave",
    "level_3": "Drawn from the third octave",
    "level_4": "Drawn from the fourth octave and below",
    "near_miss": "Near misses: the feature almost fires",
}
SHADES = 20  # steps of a highlight


class Segment(NamedTuple):
    """A token with its highlight by each readout, or text without any."""

    text: str
    shades: dict[str, str]  # readout -> opacity; empty: nothing fires
    is_centre: bool


def render_feature_page(
    cards: list[dict[str, Any]],
    lens: list[dict[str, Any]],
    edits: Mapping[int, list[dict[str, Any]]],
    template: str,
    script: str,
    *,
    family: str,
    label: str,
    crosscoder: str,
) -> str:
    """Return the page, which refers only to other files of the results. `script` sorts the table.

    `lens` has the rows of the activation-difference lens, `edits` what `edits_of_features` returns.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {
        "percent": percent,
        "number": number,
        "visible": visible,
        "marked": marked,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
    }
    return environment.from_string(template).render(
        cards=cards,
        lens=lens,
        edits=edits,
        family=family,
        script=script,
        kinds=KINDS,
        label=label,
        crosscoder=crosscoder,
        readouts=readouts(cards),
        segments=segments,
        strongest=strongest,
    )


def examples(cards: list[dict[str, Any]], count: int = 3) -> dict[str, list[dict[str, Any]]]:
    """Return the first cards for each reason, for the report: features that fire on some text."""
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for card in cards:
        for reason in card["reasons"] if card["contexts"]["strongest"] else []:
            by_reason.setdefault(reason, []).append(card)
    return {reason: shown[:count] for reason, shown in by_reason.items()}


def readouts(cards: list[dict[str, Any]]) -> list[str]:
    """Return the names of the readouts, joint and then the models, of any context; none without."""
    all_contexts = (c for card in cards for contexts in card["contexts"].values() for c in contexts)
    return list(next(all_contexts, {"codes": {}})["codes"])


def strongest(card: dict[str, Any]) -> float:
    """Return a feature's strongest activation on the held-out texts; 0 where it never fires."""
    return max((context["value"] for context in card["contexts"]["strongest"]), default=0.0)


def segments(context: dict[str, Any], most: float) -> list[Segment]:
    """Return a context in pieces: each highlighted token, and the text between them as one."""
    codes = context["codes"]
    tokens = [
        Segment(
            visible(text),
            {name: shade(values[i], most) for name, values in codes.items() if values[i] > 0},
            i == context["at"],
        )
        for i, text in enumerate(context["tokens"])
    ]
    shown = []
    for plain, group in groupby(tokens, lambda token: not (token.shades or token.is_centre)):
        pieces = list(group)
        shown += [Segment("".join(p.text for p in pieces), {}, False)] if plain else pieces
    return shown


def shade(value: float, most: float) -> str:
    """Return the opacity of a highlight, more than 0 and at most 1."""
    return f"{math.ceil(SHADES * min(1.0, value / most)) / SHADES:.2f}" if most else "0"


def percent(rate: float | None) -> str:
    """Return a rate as a percentage with two digits; a dash where there is none."""
    if rate is None:
        return "–"
    text = np.format_float_positional(100 * rate, precision=2, fractional=False, trim="-")
    return f"{text}%"


def number(value: Any, digits: int = 1, signed: bool = False) -> str:
    """Return a number as text, with a true minus; a dash where there is none."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:{'+' if signed else ''}z.{digits}f}".replace("-", "\N{MINUS SIGN}")


def marked(tokens: list[str], values: list[float], chance: float | None) -> list[tuple[str, bool]]:
    """Return tokens as shown, each with whether its logit is beyond what chance gives."""
    return [
        (visible(token), chance is None or abs(value) > chance)
        for token, value in zip(tokens, values, strict=True)
    ]


def visible(token: str) -> str:
    """Return a token with its line breaks as a sign."""
    return token.replace("\n", "⏎")
