"""Collect all numbers of a study for machines: the content of summary.json."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from crosslens.analysis.evidence import feature_numbers, overlap_numbers
from crosslens.config.crosscoder_design import TOPK, TRIO, TRIO_MODELS
from crosslens.config.study import StudyConfig
from crosslens.config.study_design import FINAL, trained
from crosslens.io.records import read_json
from crosslens.reporting.claims import verdicts
from crosslens.reporting.feature_numbers import (
    attribution,
    records,
    tails,
    tails_over_seeds,
    turnover,
    why_empty,
)
from crosslens.reporting.job_costs import seconds_by_rule
from crosslens.reporting.tables import CONTROLS, SETS, effect_of, of_model
from crosslens.workflow.provenance import commit, installed

# Of the environment that the summary is made in, as crosscoders and figures are.
PACKAGES = ("snakemake", "torch", "numba", "triton", "h5py", "numpy", "pandas", "matplotlib")
GROUPS = ("tasks", "held_out")  # in effects.csv, besides single tasks


class Study(NamedTuple):
    """A study's results folder, its configuration, and the files that the report may read.

    The folder may have other files from an earlier configuration with other families or shards.
    """

    root: Path
    config: StudyConfig
    inputs: list[Path]

    def matching(self, pattern: str) -> list[Path]:
        """Return the inputs below the root whose path matches."""
        return sorted(p for p in self.inputs if p.relative_to(self.root).match(pattern))

    @property
    def families(self) -> dict[str, str]:
        """Return families and their labels."""
        return {name: family.label for name, family in self.config.families.items()}

    @property
    def trained(self) -> dict[str, list[str]]:
        """Return the paradigms trained here, by family; families without one are left out."""
        entries = self.config.families.items()
        return {name: trained(family) for name, family in entries if trained(family)}


def summarize(study: Study) -> dict[str, Any]:
    """Return all numbers of the report."""
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
    """Return the numbers of one family."""
    root = study.root
    crosscoders = study.matching(f"crosscoders/{family}/*/quality.json")
    results = study.matching(f"evaluation/{family}/*/results.json")
    trios = study.matching(f"generalization/{family}/{TRIO_MODELS}-r*/features.json")
    causal = {path.parent.name: summarize_trio(study, path.parent) for path in trios}
    drift = study.matching(f"activations/{family}/drift.json")
    topk = study.matching(f"generalization/{family}/{TRIO_MODELS}-{TOPK}-r*/features.json")
    critical = read_json(root / "generalization" / family / "critical.json")
    evaluated = {path.parent.name: read_json(path) for path in results}
    return {
        "label": study.families[family],
        "accuracy": {variant: record["tasks"] for variant, record in evaluated.items()},
        "models": {variant: record["model_hash"] for variant, record in evaluated.items()},
        "critical": {task: count_samples(samples) for task, samples in critical.items()},
        "crosscoders": {path.parent.name: read_json(path) for path in crosscoders},
        **causal.pop(TRIO),
        "other_crosscoders": causal,
        "evidence": read_json(root / "interventions" / family / "evidence.json"),
        "batch_topk": selected_by(list(map(read_json, topk))) if topk else None,
        "drift": read_json(drift[0]) if drift else None,
        "gap": records(pd.read_csv(root / "interventions" / family / "gap.csv")),
        "data_path": read_json(root / "activations" / family / "data-path.json"),
        "specificity": tails(pd.read_csv(root / "metrics" / family / "nrn.csv")),
        "tails": tails_over_seeds(pd.read_csv(root / "metrics" / family / "tails.csv")),
        "attribution": attribution(pd.read_csv(root / "metrics" / family / "mas.csv")),
        "splice": records(pd.read_csv(root / "metrics" / family / "splice.csv")),
        "differences": records(pd.read_csv(root / "metrics" / family / "differences.csv")),
        "turnover": turnover(pd.read_csv(root / "metrics" / family / "overlap.csv")),
    }


def selected_by(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the numbers of features.json for a trio's seeds, under evidence.json's keys."""
    return {"features": list(map(feature_numbers, seeds)), "overlap": overlap_numbers(seeds)}


def summarize_trio(study: Study, directory: Path) -> dict[str, Any]:
    """Return the features selected in one trio and their effects; `directory` has features.json."""
    features, name = read_json(directory / "features.json"), directory.name
    table = pd.read_csv(study.root / "interventions" / directory.parent.name / "effects.csv")
    replicate = int(name.rpartition("-r")[2])
    return {
        "features": {
            "readout": features["readout"],
            "why_empty": why_empty(features["readouts"][features["readout"]]),
            "pools": features["pools"],
            "readouts": {r: count_features(chosen) for r, chosen in features["readouts"].items()},
        },
        "interventions": {
            FINAL[target]: changes_by_task(of_model(table, target, replicate))
            for target in ("base", "rl")
        },
    }


def versions_by_rule(study: Study) -> dict[str, dict[str, str]]:
    """Return the versions of packages in the jobs of each rule; several where jobs differ."""
    versions: dict[str, dict[str, list[str]]] = {}
    files = [(path.parent.name, read_json(path)) for path in study.matching("versions/*/*.json")]
    results = study.matching("evaluation/*/*/results.json")
    files += [("evaluate_model", read_json(path)["versions"]) for path in results]
    for rule, packages in [*files, ("write_report", installed(*PACKAGES))]:
        for package, version in packages.items():
            versions.setdefault(rule, {}).setdefault(package, []).append(version)
    return {
        rule: {package: ", ".join(dict.fromkeys(said)) for package, said in packages.items()}
        for rule, packages in versions.items()
    }


def count_samples(samples: dict) -> dict[str, int]:
    """Return the numbers of documents, critical samples and lost samples of a task."""
    return {
        "documents": samples["documents"],
        "critical": len(samples["critical"]),
        "lost": samples["lost"],
    }


def count_features(chosen: dict) -> dict[str, Any]:
    """Return the counts of selected features: per task, in the majority and in all."""
    return {
        "per_task": {task: len(value["selected"]) for task, value in chosen["tasks"].items()},
        "max_score": {task: value["max_score"] for task, value in chosen["tasks"].items()},
        "majority": len(chosen["majority"]),
        "intersection": len(chosen["intersection"]),
    }


def changes_by_task(table: pd.DataFrame) -> dict[str, dict]:
    """Return the change of each kind of set in each task, and those of its random sets."""
    changes: dict[str, dict] = {}
    on_critical = table[(table["n_samples"] > 0) & ~table["task"].isin(GROUPS)]
    for task, part in on_critical.groupby("task", sort=False):
        changes[task] = {"n_samples": int(part["n_samples"].iloc[0])}
        for kind in SETS:
            rows = effect_of(table, task, kind)
            if len(rows["set"]):
                changes[task][kind] = beside_controls(rows)
    return changes


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
