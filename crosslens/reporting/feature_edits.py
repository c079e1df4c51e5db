"""Collect, for a feature's card, the effects of edits of the sets that contain the feature.

An edit changes a complete set, so these numbers do not show the effect of a single feature.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.critical_samples import HALVES

SETS = {  # a design and a kind of set of comparisons.csv, in words
    ("protocol", PRIMARY): "protocol, selected in all tasks or most consistent over tasks",
    ("protocol", "majority"): "protocol, selected in most tasks",
    ("protocol", "contrast"): "protocol, selected against other samples",
    ("paper", "intersection"): "paper, selected in all tasks",
    ("paper", "majority"): "paper, selected in most tasks",
}
AGAINST = {"protocol": "matched", "paper": "random_alive"}
QUESTIONS = {"tasks": "on the tasks", "held_out": "on held-out tasks"}
SPLITS = {"tasks": HALVES, "held_out": ("all",)}  # whose sets the protocol edits on them
MODELS = {"base": "base", "sft": "SFT", "rl": "RL"}
NUMBERS = ("value", "control_mean", "excess", "low", "high")  # points of accuracy


def edits_of_features(
    compared: pd.DataFrame, selection: Mapping[str, Any], doses: Mapping[str, str]
) -> dict[int, list[dict[str, Any]]]:
    """Return, for each feature of an edited set, the effects of the edits of its sets.

    Each record has the edited model, the dose, the set, the questions, the number of seeds, and
    `NUMBERS` of the net effect, NaN where one is missing. `compared` is comparisons.csv,
    `selection` the content of features.json, `doses` the primary dose of each target: other doses
    of the protocol's sets are left out.
    """
    records: dict[int, list[dict[str, Any]]] = {}
    for row in shown(compared, doses):
        features = members(selection, row["design"], row["features"], row["questions"])
        record = {
            "edited": MODELS[row["target"]],
            "dose": row["dose"],
            "set": SETS[row["design"], row["features"]],
            "questions": QUESTIONS[row["questions"]],
            "seeds": int(row["seeds"]),
            **{name: row[name] for name in NUMBERS},
        }
        for feature in features:
            records.setdefault(feature, []).append(record)
    return records


def shown(compared: pd.DataFrame, doses: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of comparisons.csv for cards.

    These are net effects of `SETS` at the primary dose, against the kind of control in `AGAINST`.
    """
    for row in compared[compared["measure"] == "net"].to_dict("records"):
        design = row["design"]
        on_cards = (design, row["features"]) in SETS and row["against"] == AGAINST[design]
        if on_cards and (design == "paper" or row["dose"] == doses.get(row["target"])):
            yield row


def members(selection: Mapping[str, Any], design: str, features: str, questions: str) -> set[int]:
    """Return the features of the sets that a design edits on a group of questions."""
    if design == "paper":
        return set(selection[features])
    return {k for split in SPLITS[questions] for k in selection["protocol"][split][features]}
