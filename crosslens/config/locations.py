"""List the models, data sets and files of a configuration: local, synthetic or on the hub."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from crosslens.config.sections import DatasetSource
from crosslens.config.study import StudyConfig
from crosslens.config.study_design import given


def named_paths(study: StudyConfig) -> Iterator[tuple[str, str]]:
    """Yield (key, path or name on the hub) of everything that the study reads."""
    if study.traces and study.traces.teacher:
        yield "traces.teacher", study.traces.teacher
    for family, entry in study.families.items():
        for variant, model in given(entry).items():
            yield f"families.{family}.{variant}", model.model
    for key, source in named_sources(study):
        yield key, source.dataset


def named_sources(study: StudyConfig) -> Iterator[tuple[str, DatasetSource]]:
    """Yield (key, source) of every data set that the study reads."""
    parts = {"corpus.sources": study.corpus.sources, "evaluation.files": study.evaluation.files}
    if study.problems:
        parts["problems.sources"] = study.problems.sources
        parts["problems.exclude"] = study.problems.exclude
    for part, sources in parts.items():
        for name, source in sources.items():
            yield f"{part}.{name}", source


class Download(NamedTuple):
    """A download from the hub: a repository at a revision, or only its files that match."""

    repository: str
    revision: str
    kind: Literal["model", "dataset"]
    files: str | None = None


def downloads(study: StudyConfig) -> dict[str, Download]:
    """Return everything that the study takes from the hub, by the key that names it."""
    models = {
        f"families.{family}.{variant}": (source.model, source.revision)
        for family, entry in study.families.items()
        for variant, source in given(entry).items()
    }
    if study.traces and study.traces.teacher:
        models["traces.teacher"] = study.traces.teacher, study.traces.revision
    needed = {
        key: Download(name, revision, "model")
        for key, (name, revision) in models.items()
        if revision
    }
    for key, source in named_sources(study):
        if source.revision:
            needed[key] = Download(source.dataset, source.revision, "dataset", source.files)
    return needed


def benchmark_files(study: StudyConfig) -> dict[str, str]:
    """Return the local file that evaluation reads for each task.

    This is the user's own file if it is JSON lines and read completely. Otherwise it is the file
    that prepare_benchmark writes.
    """
    complete = study.evaluation.limit == "all"
    return {
        task: source.dataset
        if complete and source.revision is None and source.dataset.endswith(".jsonl")
        else f"results/{study.study}/data/benchmarks/{task}.jsonl"
        for task, source in study.evaluation.files.items()
    }


def local_sources(sources: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the paths of the local data sets among `sources`, which are as the jobs get them."""
    return [source["dataset"] for source in sources if "revision" not in source]


def is_synthetic(path: str, study: StudyConfig) -> bool:
    """Return whether a path is among the study's synthetic data (rules/world.smk)."""
    return PurePosixPath(path).is_relative_to(f"results/{study.study}/world")


def other_study(path: str, study: StudyConfig) -> str:
    """Return a hint for a path into the synthetic data of a study with another name."""
    parts = PurePosixPath(path).parts
    if len(parts) > 3 and (parts[0], parts[2]) == ("results", "world"):
        here = PurePosixPath("results", study.study, *parts[2:])
        return f"For this study, give {here}."
    return ""


def existing_variants(study: StudyConfig, family: str) -> list[Path]:
    """Return the directories of a family's models that exist, base first if it is one of them."""
    made = Path("results", study.study, "models", family)
    supplied = [Path(source.model) for source in given(study.families[family]).values()]
    folders = [*supplied, *sorted(made.glob("*/"))]
    return [folder for folder in folders if (folder / "tokenizer.json").is_file()]
