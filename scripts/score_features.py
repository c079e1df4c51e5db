"""Score every feature on the questions of each task, by every readout."""

from pathlib import Path

import pandas as pd
import torch

from crosslens.analysis.critical_samples import CELLS
from crosslens.analysis.feature_scores import READOUTS, Scores, score, splits_of
from crosslens.analysis.feature_selection import WON, mean, task_scores
from crosslens.analysis.question_table import states_of
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job

CONTRIBUTIONS = ("contribution", "contrast", *CELLS[1:])


def score_table(scores: Scores, tasks: list[str]) -> pd.DataFrame:
    """Return one row for each task, readout and feature; none for a task without critical samples.

    `score` is Eq. 11, `rl_rate` the fraction of critical samples on which the feature fires in RL.
    The other scores are contributions: on critical samples, these minus all others, and in the
    other cells.
    """
    every = splits_of(tasks)["all"]
    tables = []
    for r, readout in enumerate(READOUTS):
        values = {"score": task_scores(scores, "paper", every, readout)}
        fires = scores.fires[r, :, :, WON].sum(axis=1)
        values["rl_rate"] = mean(fires, scores.count[:, :, WON].sum(axis=1))
        values |= {kind: task_scores(scores, kind, every, readout) for kind in CONTRIBUTIONS}
        tables += [
            pd.DataFrame({"task": task, "readout": readout} | {k: v[t] for k, v in values.items()})
            for t, task in enumerate(tasks)
        ]
    table = pd.concat([t.rename_axis("feature").reset_index() for t in tables])
    return table.dropna(subset=["score"])[["task", "readout", "feature", *values]]


def main(
    *,
    questions: Path,
    states: Path,
    crosscoder: Path,
    tasks: list[str],
    readout: str,
    unit: str,
    scores: Path,
    table: Path,
) -> None:
    """Write the sums from which scores follow, and the scores themselves."""
    torch.set_num_threads(1)
    groups, activations = states_of(states, pd.read_csv(questions), tasks)
    trio = Crosscoder.load_frozen(crosscoder)
    sums = score(trio, activations, groups, readout=readout, unit=unit)
    sums.save(scores)
    write_csv(table, score_table(sums, tasks))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        questions=snakemake.input.questions,
        states=snakemake.input.states,
        crosscoder=snakemake.input.crosscoder,
        tasks=snakemake.params.tasks,
        readout=snakemake.params.readout,
        unit=snakemake.params.unit,
        scores=snakemake.output.scores,
        table=snakemake.output.table,
    )
