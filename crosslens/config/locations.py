"""What a configuration names: models, data sets and files; which are local, and which synthetic."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from crosslens.config.sections import DatasetSource
from crosslens.config.study import StudyConfig
from crosslens.config.study_design import given


def named_paths(study: StudyConfig) -> Iterator[tuple[str, str]]:
    """Yield (key, path or name on the hub) of everything that the study reads."""
    if study.traces:
        yield "traces.teacher", study.traces.teacher
    for family, entry in study.families.items():
        for variant, source in given(entry).items():
            yield f"families.{family}.{variant}", source.model
    for task, path in study.evaluation.files.items():
        yield f"evaluation.files.{task}", path
    for key, source in named_sources(study):
        yield key, source.dataset


def named_sources(study: StudyConfig) -> Iterator[tuple[str, DatasetSource]]:
    """Yield (key, source) of every data set that the study reads."""
    parts = {"corpus.sources": study.corpus.sources}
    if study.problems:
        parts["problems.sources"] = study.problems.sources
        parts["problems.exclude"] = study.problems.exclude
    for part, sources in parts.items():
        for name, source in sources.items():
            yield f"{part}.{name}", source


def local_sources(sources: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the paths of the data sets, as they reach the jobs, that are not on the hub."""
    return [source["dataset"] for source in sources if "revision" not in source]


def is_synthetic(path: str, study: StudyConfig) -> bool:
    """Return whether a path is among the study's synthetic data (rules/world.smk)."""
    return PurePosixPath(path).is_relative_to(f"results/{study.study}/world")


def other_study(path: str, study: StudyConfig) -> str:
    """Return a hint for a path into the synthetic data of a study with another name."""
    parts = PurePosixPath(path).parts
    if len(parts) > 3 and (parts[0], parts[2]) == ("results", "world"):
        here = PurePosixPath("results", study.study, *parts[2:])
        return f"The world of this study is at {here}."
    return ""


def existing_variants(study: StudyConfig, family: str) -> list[Path]:
    """Return the directories of a family's models that exist, base first if it is one of them."""
    made = Path("results", study.study, "models", family)
    supplied = [Path(source.model) for source in given(study.families[family]).values()]
    folders = [*supplied, *sorted(made.glob("*/"))]
    return [folder for folder in folders if (folder / "tokenizer.json").is_file()]
