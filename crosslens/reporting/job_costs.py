"""Sum up what the jobs of a study cost, from the benchmark files that Snakemake writes."""

import ast
import csv
import re
from collections.abc import Container
from pathlib import Path

import pandas as pd

from crosslens.config import crosscoder_design
from crosslens.config.study import StudyConfig

WORLD_RULES = ("build_world", "pretrain_base", "pretrain_teacher")
JOBS = {  # what the names of these rules' benchmark files say, besides the family
    "extract_activations": r"(?P<models>.+)-(heldout|(?P<shard>\d+))",
    "train_crosscoders": r"(?P<group>.+)-(?P<shard>\d+)",
    "evaluate_crosscoder": r"(?P<crosscoder>.+)",
    "score_features": r"(?P<trio>.+)",
    "select_features": r"(?P<trio>.+)",
    "intervene": r"(?P<trio>.+)/.+",
    "generate_answers": r".+/(?P<answered>.+)",
}


def seconds_by_rule(benchmarks: Path, config: StudyConfig) -> dict[str, dict[str, float]]:
    """Return jobs, seconds, GPU-hours and peak memory of each rule, from Snakemake's benchmarks."""
    costs: dict[str, dict[str, float]] = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        if not is_from_this_config(path.relative_to(benchmarks), config):
            continue
        row = pd.read_csv(path, sep="\t", na_values="-", quoting=csv.QUOTE_NONE).iloc[0]
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        zero = {"jobs": 0, "seconds": 0.0, "gpu_hours": 0.0, "max_rss_mib": 0.0}
        entry = costs.setdefault(rule, zero)
        entry["jobs"] += 1
        entry["seconds"] += float(row["s"])
        entry["gpu_hours"] += gpus_of(row) * float(row["s"]) / 3600
        if pd.notna(row["max_rss"]):  # a job too short to be measured
            entry["max_rss_mib"] = max(entry["max_rss_mib"], float(row["max_rss"]))
    return dict(sorted(costs.items(), key=lambda item: -item[1]["seconds"]))


def is_from_this_config(path: Path, config: StudyConfig) -> bool:
    """Return whether a benchmark file belongs to a job of this configuration.

    An earlier configuration may have had other families, shards or crosscoders. `path` is
    {rule}[/{family}][/{job}].tsv.
    """
    rule, *below = path.with_suffix("").parts
    if not below:
        return rule not in WORLD_RULES or config.world is not None
    if rule == "generate_traces":
        return int(below[0]) < (config.traces.shards if config.traces else 0)
    if rule.startswith(("draw_", "tabulate_")):
        return True
    job = re.fullmatch(JOBS.get(rule, ".*"), "/".join(below[1:]))
    if job is None or below[0] not in config.families:
        return False
    named = {kind: name for kind, name in job.groupdict().items() if name is not None}
    shard, names = int(named.pop("shard", 0)), job_names(config, below[0])
    return shard < config.activations.shards and all(named[kind] in names[kind] for kind in named)


def job_names(config: StudyConfig, family: str) -> dict[str, Container[str]]:
    """Return the names that a family's jobs can have, by the groups of `JOBS`."""
    entry, settings, asked = config.families[family], config.crosscoder, config.evaluation
    return {
        "models": crosscoder_design.extraction_sets(entry, settings),
        "group": crosscoder_design.groups(entry, settings),
        "crosscoder": crosscoder_design.crosscoders(entry, settings),
        "trio": crosscoder_design.trios(settings),
        "answered": asked.math if asked.backend == "vllm" else (),
    }


def gpus_of(row: pd.Series) -> int:
    """Return the number of GPUs that a job had, from its benchmark file.

    The file has this number if Snakemake ran with `benchmark-extended`, as in both profiles.
    """
    return ast.literal_eval(row["resources"]).get("gpu", 0) if "resources" in row else 0
