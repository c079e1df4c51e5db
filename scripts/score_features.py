"""Score every feature on each task's critical samples, by every readout."""

from pathlib import Path

import pandas as pd
import torch

from crosslens.activations.extract import load_truncated
from crosslens.analysis.feature_scores import READOUTS, final_token, score_task
from crosslens.config.sections import EvaluationConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.harness import prompts_of, tasks_of
from crosslens.io.records import read_json, write_csv
from crosslens.models.tokenizer import load_tokenizer
from crosslens.workflow.job import run_job

COLUMNS = ["task", "readout", "feature", "score", "rl_rate"]


def main(
    *,
    critical: Path,
    models: list[Path],
    crosscoder: Path,
    settings: EvaluationConfig,
    tasks: list[str],
    out: Path,
) -> None:
    """Write scores.csv; a task without critical samples has no rows."""
    torch.set_num_threads(1)
    found = {t: [s["doc_id"] for s in v["critical"]] for t, v in read_json(critical).items()}
    trio = Crosscoder.load(crosscoder)
    networks = [load_truncated(path, trio.metadata["layer"])[0] for path in models]
    tokenizer = load_tokenizer(models[0])
    tables = [pd.DataFrame(columns=COLUMNS)]
    with tasks_of(settings, tasks) as harness:
        for task in tasks:
            if not found[task]:
                continue
            ids = [tokenizer.encode(text) for text in prompts_of(harness[task], found[task])]
            size = settings.batch_size
            activations = torch.stack([final_token(n, ids, size) for n in networks], dim=1)
            tables += [score_task(trio, activations, r).assign(task=task) for r in READOUTS]
    write_csv(out, pd.concat(tables)[COLUMNS])


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        critical=snakemake.input.critical,
        models=snakemake.input.models,
        crosscoder=snakemake.input.crosscoder,
        settings=snakemake.params.evaluation,
        tasks=snakemake.params.tasks,
        out=snakemake.output[0],
    )
