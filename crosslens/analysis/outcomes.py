"""Measure what edits do to answers: won, lost, net, flips, directedness, margin, and chance."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from crosslens.analysis.arms import is_fair, place_of
from crosslens.analysis.intervals import accuracy_change
from crosslens.analysis.significance import Effects, McNemar, mcnemar, ratio
from crosslens.config.study_design import PARADIGMS
from crosslens.io.records import read_json

MEASURES = ("net", "flips", "directedness", "margin", "critical")


class Benchmark(NamedTuple):
    """The questions and their answers before any edit.

    `right` marks the correct choices and `choices` counts all; `answers` has each variant's
    unedited choice; `critical` marks questions that base answers incorrectly and RL correctly by
    lm-eval. Features are selected on `tasks`, not on `held_out` tasks.
    """

    tasks: Sequence[str]
    held_out: Sequence[str]
    task: Sequence[str]
    half: Sequence[str]
    passage: Sequence[str]
    right: Bool[np.ndarray, "q m"]
    choices: Int[np.ndarray, " q"]
    answers: Mapping[str, Int[np.ndarray, " q"]]
    critical: Bool[np.ndarray, " q"]

    def groups(self) -> dict[str, Bool[np.ndarray, " q"]]:
        """Return the questions of the selection tasks together, and of the held-out ones."""
        return {"tasks": self.among(self.tasks), "held_out": self.among(self.held_out)}

    def among(self, tasks: Sequence[str]) -> Bool[np.ndarray, " q"]:
        """Return which questions belong to some tasks."""
        return np.isin(np.asarray(self.task), list(tasks))

    def fairly_edited(self, arms: Sequence[Mapping[str, Any]]) -> Bool[np.ndarray, "arms q"]:
        """Return which questions each arm of arms.json edits by an edit of its set's size."""
        parts = list(zip(self.task, self.half, strict=True))
        is_edited = np.zeros((len(arms), len(parts)), dtype=bool)
        for row, arm in zip(is_edited, arms, strict=True):
            fair = {p: is_fair(arm, place_of(arm["design"], p, self.tasks)) for p in set(parts)}
            row[:] = [fair[p] for p in parts]
        return is_edited

    def is_right(self, choice: Int[np.ndarray, "... q"]) -> Bool[np.ndarray, "... q"]:
        """Return whether choices are correct."""
        return np.take_along_axis(
            self.right.T, np.atleast_2d(choice).astype(np.int64), axis=0
        ).reshape(choice.shape)

    def accuracy(self, variant: str, chosen: Bool[np.ndarray, " q"]) -> float:
        """Return a variant's accuracy on some questions by its unedited choices."""
        return float(self.is_right(self.answers[variant])[chosen].mean())


class Run(NamedTuple):
    """The outcomes of one model under all arms, for one seed of the crosscoder.

    `arms` are the records of arms.json; `other` is the variant that edits should move answers
    towards: RL where base is edited, base where RL or SFT is.
    """

    replicate: int
    target: str
    other: str
    arms: Sequence[Mapping[str, Any]]
    choice: Int[np.ndarray, "arms q"]
    margin: Float[np.ndarray, "arms q"]
    before: Int[np.ndarray, " q"]
    margin_before: Float[np.ndarray, " q"]

    def find(self, **wanted: Any) -> list[int]:
        """Return the arms that have some values, in their order."""
        return [
            i
            for i, arm in enumerate(self.arms)
            if all(arm[name] == value for name, value in wanted.items())
        ]


def read_run(records: Path, outcomes: Path) -> Run:
    """Read one model's outcomes for one seed: arms.json and outcomes.npz in trio-r{seed}/{model}.

    The model is that of the directory: base, or the paradigm of its name.
    """
    variant, trio = records.parent.name, records.parent.parent.name
    target = next((p for p in PARADIGMS if variant.startswith(p)), "base")
    with np.load(outcomes) as arrays:
        return Run(
            int(trio.rpartition("-r")[2]),
            target,
            "rl" if target == "base" else "base",
            read_json(records),
            **{name: arrays[name] for name in ("choice", "margin", "before", "margin_before")},
        )


def question_effects(
    run: Run,
    benchmark: Benchmark,
    arms: Sequence[int],
    measure: str,
    chosen: Bool[np.ndarray, " q"],
) -> Effects:
    """Return one measure for each of some arms and questions.

    net           +1 for a question won, -1 for one lost
    flips         1 for a changed answer
    directedness  of changed answers where the two models differ: 1 if changed to the other model's
    margin        change of log p(correct) - log p(best other), in nats
    critical      the same as net, on critical samples only
    """
    choice, before = run.choice[arms][:, chosen], run.before[chosen]
    ones = np.ones(choice.shape)
    if measure == "margin":
        moved = run.margin[arms][:, chosen] - run.margin_before[chosen]
        finite = np.isfinite(moved)
        return Effects(np.where(finite, moved, 0.0), finite.astype(float))
    if measure == "flips":
        return Effects((choice != before).astype(float), ones)
    if measure == "directedness":
        other = benchmark.answers[run.other][chosen]
        changed = (choice != before) & (other != before)
        return Effects((changed & (choice == other)).astype(float), changed.astype(float))
    part = benchmark._replace(right=benchmark.right[chosen])
    net = part.is_right(choice).astype(float) - part.is_right(before)
    if measure == "critical":
        ones = ones * benchmark.critical[chosen]
    return Effects(net * ones, ones)


def effect_rows(run: Run, benchmark: Benchmark) -> Iterator[dict[str, Any]]:
    """Yield one row for each arm and task, and for the selection and held-out tasks together.

    Numbers are over the questions that the arm edits, or over all of them if it edits none.
    """
    where = benchmark.fairly_edited([{**arm, "factors": {}} for arm in run.arms])
    groups = {t: benchmark.among([t]) for t in (*benchmark.tasks, *benchmark.held_out)}
    groups |= benchmark.groups()
    for i, arm in enumerate(run.arms):
        named = {k: arm[k] for k in ("design", "features", "kind", "dose", "draw", "size")}
        for task, chosen in groups.items():
            edited = features_edited(arm, task, benchmark)
            if chosen.any() and edited is not None:
                row = {"replicate": run.replicate, "target": run.target, **named, "task": task}
                own = chosen & where[i]
                numbers = effect_numbers(run, benchmark, i, own if own.any() else chosen)
                yield row | {"n_features": edited} | numbers


def features_edited(arm: Mapping[str, Any], task: str, benchmark: Benchmark) -> int | None:
    """Return the number of features that an arm edits in a task or group.

    It is the largest number where questions differ, and None where the arm has no set.
    """
    sets, tasks, held_out = arm["n_features"], benchmark.tasks, benchmark.held_out
    if arm["design"] == "everywhere":
        return 0
    if arm["design"] == "paper":
        names = {"tasks": tasks, "held_out": held_out}.get(task, [task])
    elif arm["design"] == "leave_out":
        names = [f"without-{t}" for t in ({"tasks": tasks}.get(task, [task]))]
    else:
        names = ["A", "B"] if task in (*tasks, "tasks") else ["all"]
    counted = [sets[name] for name in names if name in sets]
    return max(counted) if counted else None


def effect_numbers(
    run: Run, benchmark: Benchmark, arm: int, chosen: Bool[np.ndarray, " q"]
) -> dict[str, Any]:
    """Return the numbers of one arm on some questions; accuracies in [0, 1], changes in points.

    `chance` is the accuracy of a uniform guess; `directedness_chance` is the probability that a
    random changed answer is the other model's. `net_if_undirected` is the expected change if as
    many answers had been redrawn uniformly: q (1/m - accuracy) for a fraction q of them. None of
    these is the null, which is what matched edits do to the same questions.
    """
    effects = {name: question_effects(run, benchmark, [arm], name, chosen) for name in MEASURES}
    part = benchmark._replace(right=benchmark.right[chosen])
    before, after = part.is_right(run.before[chosen]), part.is_right(run.choice[arm][chosen])
    won, lost, count = int((after & ~before).sum()), int((before & ~after).sum()), len(before)
    test = cached_mcnemar(won, lost)
    critical = benchmark.critical[chosen]
    value = {name: float(e.values()[0]) for name, e in effects.items()}
    return {
        "questions": count,
        "accuracy_before": float(before.mean()),
        "accuracy_after": float(after.mean()),
        "chance": float((part.right.sum(axis=1) / benchmark.choices[chosen]).mean()),
        "won": won,
        "lost": lost,
        "net": 100 * value["net"],
        "net_if_undirected": undirected(value["flips"], before, benchmark.choices[chosen]),
        "flips": value["flips"],
        "p_mcnemar": test.p(won + lost),
        "directed_of": int(effects["directedness"].whole.sum()),
        "directedness": value["directedness"],
        "directedness_chance": directed_chance(effects["directedness"], benchmark.choices[chosen]),
        "margin": value["margin"],
        **on_critical(before[critical], after[critical]),
    }


@cache
def cached_mcnemar(won: int, lost: int) -> McNemar:
    """Return `mcnemar`, computed once for each pair of counts."""
    return mcnemar(won, lost)


def undirected(
    flips: float, before: Bool[np.ndarray, " q"], choices: Int[np.ndarray, " q"]
) -> float:
    """Return the expected net change in points if a fraction `flips` of answers changed at random.

    A uniform draw among m choices changes an answer with probability 1 - 1/m, so a fraction
    flips m / (m - 1) was redrawn; each redrawn answer gains 1/m - accuracy.
    """
    m = choices.mean()
    return float(100 * flips * m / (m - 1) * ((1 / choices).mean() - before.mean()))


def directed_chance(directed: Effects, choices: Int[np.ndarray, " q"]) -> float:
    """Return the mean of 1 / (m - 1) over the questions that directedness counts."""
    weights = directed.whole[0]
    return float(ratio((weights / (choices - 1)).sum(), weights.sum()))


def on_critical(before: Bool[np.ndarray, " c"], after: Bool[np.ndarray, " c"]) -> dict[str, Any]:
    """Return the paper's numbers: accuracies on critical samples, their change and its interval."""
    if not len(before):
        names = ("accuracy_before", "accuracy_after", "change", "ci_low", "ci_high")
        return {"n_samples": 0} | {f"critical_{name}": np.nan for name in names}
    numbers = accuracy_change(int(before.sum()), int(after.sum()), len(before))
    return {"n_samples": numbers.pop("n_samples")} | {
        f"critical_{k}": v for k, v in numbers.items()
    }
