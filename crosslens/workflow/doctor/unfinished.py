"""List what killed jobs left in the results and no job of this configuration resumes.

Nothing is deleted: a job of an earlier configuration may still be writing on another node, or the
user may return to that configuration.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path

from crosslens.config.crosscoder_design import extraction_sets
from crosslens.config.study import StudyConfig
from crosslens.config.study_design import trained
from crosslens.io.resumable_directory import UNFINISHED
from crosslens.workflow.doctor.finding import Finding, ok, warning
from crosslens.workflow.doctor.machine import GB

SFT, GRPO = ".sft-run", ".grpo-{}"  # scripts/train_sft.py, scripts/train_grpo.py
PATTERNS = (
    f"activations/*/*/{UNFINISHED.format('*')}",
    f"models/*/{SFT}",
    f"models/*/{GRPO.format('*')}",
)


def unfinished(study: StudyConfig, results: Path) -> list[Finding]:
    """Return a warning for each folder with such directories: size, and how to delete them."""
    resumed = {results / name for name in resumable(study)}
    leftovers = {path for pattern in PATTERNS for path in results.glob(pattern)} - resumed
    folders = sorted({path.parent for path in leftovers})
    if not folders:
        return [ok("unfinished", "no directories that this configuration would not resume")]
    return [
        leftovers_in(folder, results, sorted(path for path in leftovers if path.parent == folder))
        for folder in folders
    ]


def resumable(study: StudyConfig) -> Iterator[str]:
    """Yield the hidden directories that a job of the study would resume, relative to results."""
    shards = ["heldout", *range(study.activations.shards)]
    for family, entry in study.families.items():
        for model_set in extraction_sets(entry, study.crosscoder):
            for shard in shards:
                hidden = UNFINISHED.format(f"shard-{shard}")
                yield f"activations/{family}/{model_set}/{hidden}"
        if "sft" in trained(entry):
            yield f"models/{family}/{SFT}"
        if "rl" in trained(entry):
            yield f"models/{family}/{GRPO.format(study.training_of(family).grpo.engine)}"


def leftovers_in(folder: Path, results: Path, paths: list[Path]) -> Finding:
    """Return what is left in one folder."""
    files = [file for path in paths for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / GB
    return warning(
        folder.relative_to(results).as_posix(),
        f"{len(paths)} unfinished, {size:.1f} GB: no job of this configuration resumes "
        f"{', '.join(path.name for path in paths)}. When no job of an earlier configuration runs: "
        f"{shlex.join(['rm', '-r', *map(str, paths)])}",
    )
