"""Evaluate one model on every benchmark, in one process; nothing is evaluated twice."""

from importlib.metadata import version
from pathlib import Path

from crosslens.evaluation import load_model, outcomes, run, tasks_of
from crosslens.files import sha256, write_json, write_jsonl
from crosslens.statistics import accuracy


def main(*, model: Path, settings: dict, results: Path, samples: Path) -> None:
    """Write accuracies with intervals, and every sample's outcome."""
    choice, math = [*settings["tasks"], *settings["unseen"]], list(settings["math"])
    evaluated = load_model(model, settings["batch_size"])
    rows: list[dict] = []
    summary: dict[str, dict] = {}
    for names, is_math in ((choice, False), (math, True)):
        with tasks_of(settings, names) as tasks:
            for name, records in run(evaluated, tasks, math=is_math).items():
                repeats = settings["math"][name]["repeats"] if is_math else None
                found = outcomes(name, records, repeats)
                rows += found
                summary[name] = accuracy(found) | {"kind": "math" if is_math else "choice"}
                if is_math:
                    exact = [record["exact_match"] for record in records]
                    summary[name]["exact_match"] = sum(exact) / len(exact)
    versions = {name: version(name) for name in ("lm-eval", "transformers", "torch", "math-verify")}
    write_jsonl(samples, rows)
    identity = {"model": str(model), "model_hash": sha256(model)}
    write_json(results, {"tasks": summary, **identity, "versions": versions})


if __name__ == "__main__":
    from crosslens.errors import one_line
    from crosslens.gpus import hold

    with one_line(snakemake.log[0]), hold(snakemake.resources.gpu):
        main(
            model=Path(snakemake.input.model),
            settings=snakemake.params.evaluation,
            results=Path(snakemake.output.results),
            samples=Path(snakemake.output.samples),
        )
