"""Everything a study found: for machines as summary.json, for readers as one page."""

import ast
import base64
import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from crosslens.checkout import commit
from crosslens.design import trained
from crosslens.files import read_json, sha256
from crosslens.results import CONTROLS, SETS, effect_of
from crosslens.versions import installed

FIGURES = {
    1: "NRN of the final SFT and RL models against base",
    2: "Overlap of the most model-specific features between checkpoints",
    3: "MAS over base, SFT and RL",
    4: "Overlap of generalization features between tasks",
    5: "MAS over base, SFT and RL, second family",
    6: "NRN of the final SFT and RL models against base, third family",
    7: "Overlap between checkpoints, third family",
    8: "Rank shifts during SFT",
    9: "Rank shifts during RL",
    10: "Rank shifts during SFT, second family",
    11: "Rank shifts during RL, second family",
    12: "Rank shifts during SFT, third family",
    13: "Rank shifts during RL, third family",
}


# Of the environment that this page is made in, as crosscoders and figures are.
PACKAGES = ("snakemake", "torch", "numba", "triton", "h5py", "numpy", "pandas", "matplotlib")
WORLD_RULES = ("build_world", "pretrain_base", "pretrain_teacher")
JOBS = {  # what the names of these rules' benchmark files say
    "extract_activations": r".+?-(heldout|(?P<shard>\d+))",
    "train_crosscoder": r".+-r(?P<replica>\d+)-(?P<shard>\d+)",
    "evaluate_crosscoder": r".+-r(?P<replica>\d+)",
}


class Study(NamedTuple):
    """Where a study's results lie, its configuration, and the files that the report may read.

    Older files lie beside them when a configuration of the same name had other families or shards.
    """

    root: Path
    config: dict[str, Any]
    inputs: list[Path]

    def matching(self, pattern: str) -> list[Path]:
        """The inputs below the root whose path matches."""
        return sorted(p for p in self.inputs if p.relative_to(self.root).match(pattern))

    @property
    def families(self) -> dict[str, str]:
        """Families and their labels."""
        return {name: family["label"] for name, family in self.config["families"].items()}

    @property
    def trained(self) -> dict[str, list[str]]:
        """The paradigms trained here, of each family that did not bring all of its models."""
        entries = self.config["families"].items()
        return {name: trained(family) for name, family in entries if trained(family)}


def summarize(study: Study) -> dict[str, Any]:
    """All numbers of the report, for machines."""
    manifest = study.root / "data" / "manifest.json"
    return {
        "study": study.config["study"],
        "seed": study.config["seed"],
        "commit": commit(),
        "versions": versions_by_rule(study),
        "families": {family: summarize_family(study, family) for family in study.families},
        "training_data": read_json(manifest) if study.trained else None,
        "seconds": seconds_by_rule(study.root / "benchmarks", study.config),
        "config": study.config,
    }


def summarize_family(study: Study, family: str) -> dict[str, Any]:
    """One family's numbers."""
    root = study.root
    crosscoders = study.matching(f"crosscoders/{family}/*/quality.json")
    results = study.matching(f"evaluation/{family}/*/results.json")
    features = read_json(root / "generalization" / family / "features.json")
    critical = read_json(root / "generalization" / family / "critical.json")
    evaluated = {path.parent.name: read_json(path) for path in results}
    return {
        "label": study.families[family],
        "accuracy": {variant: found["tasks"] for variant, found in evaluated.items()},
        "models": {variant: found["model_hash"] for variant, found in evaluated.items()},
        "critical": {task: count_samples(found) for task, found in critical.items()},
        "crosscoders": {path.parent.name: read_json(path) for path in crosscoders},
        "features": {
            "readout": features["readout"],
            "why_empty": features["why_empty"],
            "pools": features["pools"],
            "readouts": {r: count_features(found) for r, found in features["readouts"].items()},
        },
        "interventions": {
            path.stem: effects(pd.read_csv(path))
            for path in study.matching(f"interventions/{family}/*.csv")
        },
        "data_path": read_json(root / "activations" / family / "data-path.json"),
        "specificity": tails(pd.read_csv(root / "metrics" / family / "nrn.csv")),
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
    """Selected features per task, in the majority and in all."""
    return {
        "per_task": {task: len(value["selected"]) for task, value in found["tasks"].items()},
        "max_score": {task: value["max_score"] for task, value in found["tasks"].items()},
        "majority": len(found["majority"]),
        "intersection": len(found["intersection"]),
    }


def effects(table: pd.DataFrame) -> dict[str, dict]:
    """Per task and kind of set: its change, and those of the random sets of its size."""
    found: dict[str, dict] = {}
    for task, part in table.groupby("task", sort=False):
        found[task] = {"n_samples": int(part["n_samples"].iloc[0])}
        for kind in SETS:
            rows = effect_of(table, task, kind)
            if len(rows["set"]):
                found[task][kind] = beside_controls(rows)
    return found


def beside_controls(rows: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The effect of one set on one task; controls as a list over the random sets."""
    row = rows["set"].iloc[0]
    return {
        "n_features": int(row["n_features"]),
        "change": float(row["change"]),
        "ci95": [float(row["ci_low"]), float(row["ci_high"])],
        **{control: rows[control]["change"].tolist() for control in CONTROLS},
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


def seconds_by_rule(benchmarks: Path, config: dict[str, Any]) -> dict[str, dict[str, float]]:
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


def belongs(path: Path, config: dict[str, Any]) -> bool:
    """Whether a benchmark file is of a job of this configuration, not of an earlier one that had
    other families, shards or replicas. `path` is {rule}[/{family}][/{job}].tsv."""
    rule, *below = path.with_suffix("").parts
    if not below:
        return rule not in WORLD_RULES or "world" in config
    if rule == "generate_traces":
        return int(below[0]) < config.get("traces", {"shards": 0})["shards"]
    if rule.startswith(("draw_", "tabulate_")):
        return True
    job = re.fullmatch(JOBS.get(rule, ".*"), below[-1])
    numbers = {key: int(value) for key, value in job.groupdict("0").items()} if job else {}
    return (
        below[0] in config["families"]
        and job is not None
        and numbers.get("shard", 0) < config["activations"]["shards"]
        and numbers.get("replica", 0) <= config["crosscoder"]["replicas"]
    )


def gpus_of(row: pd.Series) -> int:
    """GPUs a job had, by its benchmark file.

    They stand there when Snakemake ran with `benchmark-extended`, as both profiles say.
    """
    return ast.literal_eval(row["resources"]).get("gpu", 0) if "resources" in row else 0


def findings(summary: dict[str, Any]) -> list[str]:
    """What the numbers say, in sentences computed from them and claiming no more."""
    sentences = []
    tasks, unseen = (", ".join(summary["config"]["evaluation"][k]) for k in ("tasks", "unseen"))
    for family in summary["families"].values():
        label = family["label"]
        sentences.append(about_accuracy(label, family["accuracy"]))
        sentences.append(about_specificity(label, family["specificity"]))
        sentences += about_features(label, family)
    sentences.append(
        f"Features were selected on the critical samples of {tasks}, on which their effect is then "
        f"measured: there it is in-sample. The clean test is {unseen}, whose samples had no part "
        "in the selection."
    )
    return sentences


def about_accuracy(label: str, accuracy: dict[str, dict]) -> str:
    """How SFT and RL changed the mean accuracy on math and elsewhere."""
    means = {}
    for variant in ("base", "sft-5", "rl-5"):
        for kind in ("math", "choice"):
            values = [v["accuracy"] for v in accuracy[variant].values() if v["kind"] == kind]
            means[variant, kind] = 100 * sum(values) / len(values)
    parts = []
    for variant, name in (("sft-5", "SFT"), ("rl-5", "RL")):
        math, other = (means[variant, k] - means["base", k] for k in ("math", "choice"))
        parts.append(f"{name} changes math by {math:+.1f} and the other tasks by {other:+.1f}")
    return f"{label}, mean accuracy in points against base: {'; '.join(parts)}."


def about_specificity(label: str, tails: dict[str, dict]) -> str:
    """How many features are specific to a model after SFT and after RL."""
    counts = {p: tails[f"{p}-5-r0"] for p in ("sft", "rl")}
    far = {p: c["below_0.3"] + c["above_0.7"] for p, c in counts.items()}
    return (
        f"{label}, features far from shared (NRN below 0.3 or above 0.7): {far['sft']} of "
        f"{counts['sft']['alive']} alive after SFT, {far['rl']} of {counts['rl']['alive']} after "
        f"RL; standard deviation of NRN {counts['sft']['std']:.3f} and {counts['rl']['std']:.3f}."
    )


def about_features(label: str, family: dict[str, Any]) -> list[str]:
    """Whether the selected features do more than random ones."""
    readout = family["features"]["readout"]
    counts = family["features"]["readouts"][readout]
    said = [
        f"{label}, generalization features by the readout {readout}: {counts['intersection']} in "
        f"all tasks, {counts['majority']} in most. {family['features']['why_empty']}".strip()
    ]
    for target, tasks in family["interventions"].items():
        for kind in SETS:
            if sentence := compare(target, tasks, kind):
                said.append(f"{label}, {sentence}")
    return said


def compare(target: str, tasks: dict[str, dict], kind: str) -> str:
    """In how many tasks a kind of set does more than every random set; "" if there is none."""
    what = "amplifying in base" if target == "base" else "zeroing in RL"
    sign = 1 if target == "base" else -1
    beyond, below, tried, without, chance = [], [], [], [], 0.0
    for task, found in tasks.items():
        if not found.get(kind, {}).get("n_features"):
            continue
        controls = [sign * c for control in CONTROLS for c in found[kind][control]]
        (tried if controls else without).append(task)
        chance += 1 / (1 + len(controls)) if controls else 0
        if controls and sign * found[kind]["change"] > max(controls):
            beyond.append(task)
        if controls and sign * found[kind]["change"] < min(controls):
            below.append(task)
    parts = [exceeding(beyond, below, tried, chance)] if tried else []
    if without:
        parts.append(f"no control of this size in {', '.join(without)}")
    return f"{what} {SETS[kind]}: {'; '.join(parts)}." if parts else ""


def exceeding(beyond: list[str], below: list[str], tried: list[str], chance: float) -> str:
    """How often a set did more than all controls, less than all, and what chance would give."""
    named = [f" ({', '.join(tasks)})" if tasks else "" for tasks in (beyond, below)]
    return (
        f"a larger effect than every random set of as many features in {len(beyond)} of "
        f"{len(tried)} tasks{named[0]}, a smaller one than all of them in {len(below)}{named[1]}; "
        f"by chance each would be about {chance:.1f}"
    )


def picture(path: Path) -> dict[str, Any]:
    """A PNG as a data URI, and the width it is shown at: 100 pixels an inch."""
    data = path.read_bytes()
    width = int.from_bytes(data[16:20], "big")  # of the header chunk
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"uri": uri, "width": width // 2}


CAPTIONS = {"draw_nrn": (1, 6), "draw_overlap": (2, 7), "draw_mas": (3, 5)}
CAPTIONS |= {"draw_feature_overlap": (4,), "draw_rank_shifts": tuple(range(8, 14))}


def caption(number: int, captions: dict[str, str]) -> str:
    """The caption of a figure: that of the rule that draws it."""
    return next(captions[rule] for rule, numbers in CAPTIONS.items() if number in numbers)


def distinct_figures(study: Study, captions: dict[str, str]) -> Iterable[dict[str, Any]]:
    """Each different picture once, with all figure numbers it stands for."""
    seen: dict[str, dict[str, Any]] = {}
    for number, title in FIGURES.items():
        path = study.root / "figures" / f"figure{number}.png"
        same = seen.setdefault(sha256(path), {"numbers": [], "title": title, "path": path})
        same["numbers"].append(number)
    for found in seen.values():
        numbers = [str(n) for n in found["numbers"]]
        yield {
            "name": f"Figure{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}",
            "title": found["title"],
            "picture": picture(found["path"]),
            "caption": caption(found["numbers"][0], captions),
        }


def page(
    study: Study, summary: dict[str, Any], template: str, captions: dict[str, str], paper: dict
) -> str:
    """The report: one page without outside references. `paper`: content of report/paper.json."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["number"] = number
    return environment.from_string(template).render(
        study=study,
        summary=summary,
        paper=paper,
        findings=findings(summary),
        figures=list(distinct_figures(study, captions)),
        tables={n: pd.read_csv(study.root / "tables" / f"table{n}.csv") for n in range(1, 6)},
        names=SETS,
        controls=CONTROLS,
        curves={
            p.stem: picture(p)
            for p in (path.with_suffix(".png") for path in study.matching("figures/*.csv"))
            if not p.stem.startswith("figure")
        },
        config=yaml.safe_dump(study.config, sort_keys=False),
        repeated=len(set(study.config["figures"]["families"])) < 3,
    )


def number(value: Any, digits: int = 1, signed: bool = False) -> str:
    """A number as text, a dash where there is none."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:{'+' if signed else ''}z.{digits}f}"
