"""All numbers that a study found, for machines: what summary.json holds."""

import ast
import csv
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from crosslens.analysis.tails import NULLS, seed_interval
from crosslens.config.crosscoder_design import TRIO_MODELS
from crosslens.config.study import StudyConfig
from crosslens.config.study_design import FINAL, TRIO, trained
from crosslens.io.records import read_json
from crosslens.reporting.tables import CONTROLS, SETS, effect_of, of_model
from crosslens.reporting.verdicts import verdicts
from crosslens.workflow.provenance import commit, installed

# Of the environment that the summary is made in, as crosscoders and figures are.
PACKAGES = ("snakemake", "torch", "numba", "triton", "h5py", "numpy", "pandas", "matplotlib")
GROUPS = ("tasks", "held_out")  # in effects.csv, besides single tasks
WORLD_RULES = ("build_world", "pretrain_base", "pretrain_teacher")
JOBS = {  # what the names of these rules' benchmark files say
    "extract_activations": r".+?-(heldout|(?P<shard>\d+))",
    "train_crosscoders": r"(seed-(?P<replica>\d+)|.+?)-(?P<shard>\d+)",
    "evaluate_crosscoder": r".+-r(?P<replica>\d+)",
    "score_features": r".+-r(?P<replica>\d+)",
    "select_features": r".+-r(?P<replica>\d+)",
    "intervene": r".+-r(?P<replica>\d+)/.+",
}


class Study(NamedTuple):
    """Where a study's results lie, its configuration, and the files that the report may read.

    Older files lie beside them when a configuration of the same name had other families or shards.
    """

    root: Path
    config: StudyConfig
    inputs: list[Path]

    def matching(self, pattern: str) -> list[Path]:
        """Return the inputs below the root whose path matches."""
        return sorted(p for p in self.inputs if p.relative_to(self.root).match(pattern))

    @property
    def families(self) -> dict[str, str]:
        """Families and their labels."""
        return {name: family.label for name, family in self.config.families.items()}

    @property
    def trained(self) -> dict[str, list[str]]:
        """The paradigms trained here, of each family that did not bring all of its models."""
        entries = self.config.families.items()
        return {name: trained(family) for name, family in entries if trained(family)}


def summarize(study: Study) -> dict[str, Any]:
    """All numbers of the report, for machines."""
    families = {family: summarize_family(study, family) for family in study.families}
    return {
        "study": study.config.study,
        "seed": study.config.seed,
        "verdicts": verdicts(families),
        "commit": commit(),
        "versions": versions_by_rule(study),
        "families": families,
        "training_data": training_data(study.root / "data") if study.trained else None,
        "seconds": seconds_by_rule(study.root / "benchmarks", study.config),
        "config": study.config.plain(),
    }


def training_data(directory: Path) -> dict[str, Any]:
    """Return counts and hashes of the training data, and the warning about its problems if any."""
    warning = read_json(directory / "problems.json")["warning"]
    manifest = read_json(directory / "manifest.json")
    return manifest | ({"warning": warning} if warning else {})


def summarize_family(study: Study, family: str) -> dict[str, Any]:
    """One family's numbers."""
    root = study.root
    crosscoders = study.matching(f"crosscoders/{family}/*/quality.json")
    results = study.matching(f"evaluation/{family}/*/results.json")
    trios = study.matching(f"generalization/{family}/{TRIO_MODELS}-r*/features.json")
    causal = {path.parent.name: summarize_trio(study, path.parent) for path in trios}
    critical = read_json(root / "generalization" / family / "critical.json")
    evaluated = {path.parent.name: read_json(path) for path in results}
    return {
        "label": study.families[family],
        "accuracy": {variant: found["tasks"] for variant, found in evaluated.items()},
        "models": {variant: found["model_hash"] for variant, found in evaluated.items()},
        "critical": {task: count_samples(found) for task, found in critical.items()},
        "crosscoders": {path.parent.name: read_json(path) for path in crosscoders},
        **causal.pop(TRIO),
        "replicas": causal,
        "evidence": read_json(root / "interventions" / family / "evidence.json"),
        "data_path": read_json(root / "activations" / family / "data-path.json"),
        "specificity": tails(pd.read_csv(root / "metrics" / family / "nrn.csv")),
        "tails": tails_over_seeds(pd.read_csv(root / "metrics" / family / "tails.csv")),
        "attribution": attribution(pd.read_csv(root / "metrics" / family / "mas.csv")),
        "splice": records(pd.read_csv(root / "metrics" / family / "splice.csv")),
        "turnover": turnover(pd.read_csv(root / "metrics" / family / "overlap.csv")),
    }


def summarize_trio(study: Study, directory: Path) -> dict[str, Any]:
    """Return what one trio's features are and do; `directory` has its features.json."""
    features, name = read_json(directory / "features.json"), directory.name
    table = pd.read_csv(study.root / "interventions" / directory.parent.name / "effects.csv")
    replica = int(name.rpartition("-r")[2])
    return {
        "features": {
            "readout": features["readout"],
            "why_empty": features["why_empty"],
            "pools": features["pools"],
            "readouts": {r: count_features(found) for r, found in features["readouts"].items()},
        },
        "interventions": {
            FINAL[target]: effects(of_model(table, target, replica)) for target in ("base", "rl")
        },
    }


def versions_by_rule(study: Study) -> dict[str, dict[str, str]]:
    """Versions by package, as the jobs of each rule found them; several where jobs differ."""
    found: dict[str, dict[str, list[str]]] = {}
    files = [(path.parent.name, read_json(path)) for path in study.matching("versions/*/*.json")]
    results = study.matching("evaluation/*/*/results.json")
    files += [("evaluate_model", read_json(path)["versions"]) for path in results]
    for rule, packages in [*files, ("write_report", installed(*PACKAGES))]:
        for package, version in packages.items():
            found.setdefault(rule, {}).setdefault(package, []).append(version)
    return {
        rule: {package: ", ".join(dict.fromkeys(said)) for package, said in packages.items()}
        for rule, packages in found.items()
    }


def count_samples(found: dict) -> dict[str, int]:
    """Documents, critical samples and lost ones of a task."""
    return {
        "documents": found["documents"],
        "critical": len(found["critical"]),
        "lost": found["lost"],
    }


def count_features(found: dict) -> dict[str, Any]:
    """Return the counts of selected features: per task, in the majority and in all."""
    return {
        "per_task": {task: len(value["selected"]) for task, value in found["tasks"].items()},
        "max_score": {task: value["max_score"] for task, value in found["tasks"].items()},
        "majority": len(found["majority"]),
        "intersection": len(found["intersection"]),
    }


def effects(table: pd.DataFrame) -> dict[str, dict]:
    """Per task and kind of set: its change, and those of the random sets of its size."""
    found: dict[str, dict] = {}
    on_critical = table[(table["n_samples"] > 0) & ~table["task"].isin(GROUPS)]
    for task, part in on_critical.groupby("task", sort=False):
        found[task] = {"n_samples": int(part["n_samples"].iloc[0])}
        for kind in SETS:
            rows = effect_of(table, task, kind)
            if len(rows["set"]):
                found[task][kind] = beside_controls(rows)
    return found


def beside_controls(rows: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Return the effect of one set on one task; controls as a list over the random sets."""
    row = rows["set"].iloc[0]
    return {
        "n_features": int(row["n_features"]),
        "change": float(row["critical_change"]),
        "ci95": [float(row["critical_ci_low"]), float(row["critical_ci_high"])],
        **{control: rows[control]["critical_change"].tolist() for control in CONTROLS},
        **{name: float(row[name]) for name in ("net", "won", "lost")},
    }


def tails(nrn: pd.DataFrame) -> dict[str, dict]:
    """Per pair: how wide the alive features' NRN spreads, and how many lie far out."""
    found = {}
    for (name, replica), part in nrn[nrn["alive"] == 1].groupby(["crosscoder", "replica"]):
        values = part["nrn"]
        found[f"{name}-r{replica}"] = {
            "alive": len(values),
            "std": float(values.std(ddof=0)),
            **{f"below_{x}": int((values < x).sum()) for x in (0.2, 0.3, 0.4)},
            **{f"above_{x}": int((values > x).sum()) for x in (0.6, 0.7, 0.8)},
        }
    return found


def tails_over_seeds(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each tail of each kind of crosscoder: its counts over seeds, and against the nulls.

    `specific` counts features that no other model has, by latent scaling. q is the largest false
    share over seeds, `start` the threshold from which it is at most 5%, for the first seed.
    """
    found = []
    keys = ["crosscoder", "model", "measure", "threshold"]
    for values, part in table.groupby(keys, sort=False):
        part = part.sort_values("replica")
        first = part.iloc[0]
        against = {
            kind: {
                "null": none_if_nan(first[f"null_{kind}"]),
                "q": none_if_nan(part[f"q_{kind}"].max()),
                "start": none_if_nan(first[f"start_{kind}"]),
                "excess": none_if_nan(first[f"excess_{kind}"]),
            }
            for kind in NULLS
            if part[f"q_{kind}"].notna().any()
        }
        counts = part["count"].tolist()
        entry = dict(zip(keys, values, strict=True)) | {
            "alive": part["alive"].tolist(),
            "count": counts,
            "specific": part["specific"].tolist(),
            "mean": float(np.mean(counts)),
            "ci95": seed_interval(counts),
        }
        found.append(entry | against)
    return found


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as plain records, None for NaN."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def none_if_nan(value: float) -> float | None:
    """Return a number as JSON has it."""
    return None if pd.isna(value) else float(value)


def attribution(mas: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Per seed of the trio: alive features that have more than half of their norm in one model.

    `swapped`: the same of the trio whose models are in random order in each row.
    """
    alive = mas[mas["alive"] == 1]
    trios = {
        f"r{replica}": part
        for replica, part in alive[alive["crosscoder"] == TRIO_MODELS].groupby("replica")
    }
    swapped = alive[alive["crosscoder"] == f"{TRIO_MODELS}-swapped"]
    if len(swapped):
        trios["swapped"] = swapped
    return {
        name: {"alive": len(part)}
        | {f"{m}_above_0.5": int((part[f"mas_{m}"] > 0.5).sum()) for m in ("base", "sft", "rl")}
        for name, part in trios.items()
    }


def turnover(overlap: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Per paradigm: top features that two checkpoints have in common by direction, of how many.

    `other_seed` has, for each other seed of the last checkpoint, the fraction that it reproduces.
    """
    found = {}
    for paradigm, part in overlap.groupby("paradigm"):
        kinds = {kind: rows.set_index(["a", "b"])["overlap"] for kind, rows in part.groupby("kind")}
        by_index, matched = kinds["index"], kinds["matched"]
        sizes = {a: int(n) for (a, b), n in by_index.items() if a == b}
        last = max(sizes)
        others = kinds.get("replica_matched", [])
        found[paradigm] = {
            "checkpoints": sorted(sizes),
            "common": {
                f"{a}-{b}": [int(n), min(sizes[a], sizes[b])]
                for (a, b), n in matched.items()
                if a != b
            },
            "other_seed": [n / sizes[last] for n in others] if sizes[last] else [],
        }
    return found


def seconds_by_rule(benchmarks: Path, config: StudyConfig) -> dict[str, dict[str, float]]:
    """Jobs, seconds, GPU hours and peak memory of each rule, from Snakemake's benchmark files."""
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
        and numbers.get("replica", 0) <= config.crosscoder.extra_seeds
    )


def gpus_of(row: pd.Series) -> int:
    """GPUs a job had, by its benchmark file.

    They stand there when Snakemake ran with `benchmark-extended`, as both profiles say.
    """
    return ast.literal_eval(row["resources"]).get("gpu", 0) if "resources" in row else 0
