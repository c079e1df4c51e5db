"""What a configuration names: models, data sets, benchmark files, and which of them are local."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from crosslens.config.study_design import given


def named_paths(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, path) of everything the configuration reads."""
    if "traces" in config:
        yield "traces.teacher", config["traces"]["teacher"]
    for family, entry in config["families"].items():
        for variant, model in given(entry).items():
            yield f"families.{family}.{variant}", model.name
    for task, path in config["evaluation"]["files"].items():
        yield f"evaluation.files.{task}", path
    for key, source in named_sources(config):
        yield key, source["dataset"]


def named_sources(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """(key, source) of every data set that the configuration reads."""
    for part in ("problems.sources", "problems.exclude", "corpus.sources"):
        section, key = part.split(".")
        for name, source in config.get(section, {}).get(key, {}).items():
            yield f"{part}.{name}", source


def local_sources(sources: Iterable[dict[str, str]]) -> list[str]:
    """Return the paths of the data sets that are not on the hub."""
    return [source["dataset"] for source in sources if "revision" not in source]


def made_here(path: str, config: dict[str, Any]) -> bool:
    """Whether rules/world.smk makes a file of this name."""
    return PurePosixPath(path).is_relative_to(f"results/{config['study']}/world")


def other_study(path: str, config: dict[str, Any]) -> str:
    """Return a hint for a path into the world of a study of another name."""
    parts = PurePosixPath(path).parts
    if len(parts) > 3 and (parts[0], parts[2]) == ("results", "world"):
        here = PurePosixPath("results", config["study"], *parts[2:])
        return f"The world of this study is at {here}."
    return ""


def variants(config: dict[str, Any], family: str) -> list[Path]:
    """Directories of a family's models that exist already, base first if it is one of them."""
    made = Path("results", config["study"], "models", family)
    brought = [Path(model.name) for model in given(config["families"][family]).values()]
    found = [*brought, *sorted(made.glob("*/"))]
    return [folder for folder in found if (folder / "tokenizer.json").is_file()]


def tasks(config: dict[str, Any]) -> list[str]:
    """All benchmarks of the study."""
    evaluation = config["evaluation"]
    return [*evaluation["tasks"], *evaluation["unseen"], *evaluation["math"]]
