"""What the jobs of a study cost, from the benchmark files that Snakemake writes."""

import ast
import csv
import re
from pathlib import Path

import pandas as pd

from crosslens.config.study import StudyConfig

WORLD_RULES = ("build_world", "pretrain_base", "pretrain_teacher")
JOBS = {  # what the names of these rules' benchmark files say
    "extract_activations": r"(base|sft|rl|sft-matched)-(heldout|(?P<shard>\d+))",
    "train_crosscoders": r"(seed-(?P<replicate>\d+)|.+?)-(?P<shard>\d+)",
    "evaluate_crosscoder": r".+-r(?P<replicate>\d+)",
    "score_features": r".+-r(?P<replicate>\d+)",
    "select_features": r".+-r(?P<replicate>\d+)",
    "intervene": r".+-r(?P<replicate>\d+)/.+",
}


def seconds_by_rule(benchmarks: Path, config: StudyConfig) -> dict[str, dict[str, float]]:
    """Return jobs, seconds, GPU hours and peak memory of each rule, by Snakemake's benchmarks."""
    found: dict[str, dict[str, float]] = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        if not belongs(path.relative_to(benchmarks), config):
            continue
        row = pd.read_csv(path, sep="\t", na_values="-", quoting=csv.QUOTE_NONE).iloc[0]
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        zero = {"jobs": 0, "seconds": 0.0, "gpu_hours": 0.0, "max_rss_mb": 0.0}
        entry = found.setdefault(rule, zero)
        entry["jobs"] += 1
        entry["seconds"] += float(row["s"])
        entry["gpu_hours"] += gpus_of(row) * float(row["s"]) / 3600
        if pd.notna(row["max_rss"]):  # a job too short to be measured
            entry["max_rss_mb"] = max(entry["max_rss_mb"], float(row["max_rss"]))
    return dict(sorted(found.items(), key=lambda item: -item[1]["seconds"]))


def belongs(path: Path, config: StudyConfig) -> bool:
    """Whether a benchmark file is of a job of this configuration, not of an earlier one that had
    other families, shards or seeds. `path` is {rule}[/{family}][/{job}].tsv."""
    rule, *below = path.with_suffix("").parts
    if not below:
        return rule not in WORLD_RULES or config.world is not None
    if rule == "generate_traces":
        return int(below[0]) < (config.traces.shards if config.traces else 0)
    if rule.startswith(("draw_", "tabulate_")):
        return True
    job = re.fullmatch(JOBS.get(rule, ".*"), "/".join(below[1:]))
    numbers = {key: int(value) for key, value in job.groupdict("0").items()} if job else {}
    return (
        below[0] in config.families
        and job is not None
        and numbers.get("shard", 0) < config.activations.shards
        and numbers.get("replicate", 0) <= config.crosscoder.extra_seeds
    )


def gpus_of(row: pd.Series) -> int:
    """Return the number of GPUs a job had, by its benchmark file.

    They stand there when Snakemake ran with `benchmark-extended`, as both profiles say.
    """
    return ast.literal_eval(row["resources"]).get("gpu", 0) if "resources" in row else 0
