"""Load a study's configuration, with all checks before the first job.

The checks are cheap: only local files are read, and neither torch nor transformers is imported. A
file that the synthetic data will contain is checked through the section `world` instead.
"""

from pathlib import Path
from typing import Any

from crosslens.config.local_data import (
    check_benchmarks,
    check_corpus,
    check_problems,
    check_synthetic_paths,
)
from crosslens.config.local_models import check_models
from crosslens.config.study import StudyConfig, read_study
from crosslens.config.workflow_checks import check_names, check_resources


def load_study(config: dict[str, Any], scripts: Path, gpus: int | None = None) -> StudyConfig:
    """Return a study's configuration as an object; fill in the defaults of `config` in place.

    `scripts` is the directory with one file for each rule. `gpus` is the N of `--resources gpu=N`,
    or None. Paths are relative to the working directory. Raises InputError for the first error
    found: first in keys, then in values that contradict each other, in names of rules, in models
    and data.
    """
    study = read_study(config)
    rules = {path.stem for path in scripts.glob("*.py")}
    check_names(study, rules)
    check_resources(study, rules, gpus)
    check_synthetic_paths(study)
    check_problems(study)
    check_models(study)
    check_benchmarks(study)
    check_corpus(study)
    return study
