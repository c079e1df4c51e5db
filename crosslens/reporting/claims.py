"""List the paper's claims in its order, the evidence for each, and the verdict of all families."""

from collections.abc import Mapping, Sequence
from typing import Any

from crosslens.analysis.hypotheses import UNDECIDED
from crosslens.config.figure_list import TABLES
from crosslens.reporting.training_verdicts import early_features, turnover
from crosslens.reporting.verdict_texts import claim_of
from crosslens.reporting.verdicts import (
    Verdict,
    attributed_features,
    intervention,
    shared_features,
    specific_features,
)

CLAIMS = {  # what judges a claim, and the figures that show it
    "SFT makes more model-specific features than RL": (specific_features, ["figure1"]),
    "SFT's specific features come early and stay": (early_features, ["figure2", "figure8"]),
    "RL's specific features keep changing": (turnover, ["figure2", "figure9"]),
    "MAS agrees: more features are specific to SFT than to RL": (attributed_features, ["figure3"]),
    "A few features are selected in all tasks": (shared_features, ["figure4"]),
}
EDITS = ("controls", "dose-curves")  # figures of all interventions


def table_of(hypothesis: Mapping[str, Any]) -> str:
    """Return the table of the paper that a primary hypothesis belongs to."""
    tasks = "heldout_tasks" if hypothesis["questions"] == "held_out" else "tasks"
    edited = "base" if hypothesis["target"] == "base" else "rl"
    numbers = (n for n, table in TABLES.items() if (table.target, table.tasks) == (edited, tasks))
    return f"table{next(numbers)}"


def verdicts(families: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims in the paper's order, with the verdict of each family and of all.

    `families` are those of summary.json.
    """
    claims = [
        entry(claim, {name: judge(family) for name, family in families.items()}, shown)
        for claim, (judge, shown) in CLAIMS.items()
    ]
    hypotheses = next(iter(families.values()))["evidence"]["hypotheses"]
    for name, hypothesis in hypotheses.items():
        each = {family: intervention(name, numbers) for family, numbers in families.items()}
        claims.append(entry(claim_of(hypothesis), each, [table_of(hypothesis), *EDITS]))
    return claims


def entry(claim: str, each: Mapping[str, Verdict], shown: Sequence[str]) -> dict[str, Any]:
    """Return a claim with the verdict that all families agree on; undecided if they differ.

    `shown` names the figures and tables with its evidence.
    """
    every = {verdict.verdict for verdict in each.values()}
    together = every.pop() if len(every) == 1 else UNDECIDED
    families = {name: verdict._asdict() for name, verdict in each.items()}
    return {"claim": claim, "verdict": together, "families": families, "evidence": list(shown)}
