"""The smallest study that trains no model: base, SFT- and RL-tuned are given, of random weights."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT, TINY, Study

MODELS = ("base", "sft", "rl")
PYTHON = ROOT / ".venvs" / "analysis" / "bin" / "python"


class Finished(NamedTuple):
    """A study that has run to its end, and what its run said."""

    study: Study
    output: str


def given_models(folder: Path) -> Study:
    """Return the study before its models are there: its world makes only benchmarks and corpora."""
    study = Study(folder, TINY)
    for section in ("problems", "traces"):
        del study.config[section]
    study.change("families", {"own": family("Own", *(f"own/{name}" for name in MODELS))})
    study.change("figures.families", ["own"] * 3)
    study.change("activations", {"shards": 1, "shards_on_disk": 1})
    study.change("crosscoder.extra_seeds", 0)
    study.change("crosscoder.evidence", [])
    study.change("crosscoder.d_sparse", 64)
    return study


def family(label: str, base: str, sft: str, rl: str) -> dict:
    """Return a family whose last checkpoints are given."""
    return {"label": label, "base": base, "sft": [sft], "rl": [{"model": rl}]}


def stand_ins(study: Study) -> None:
    """Write the models as far as they are judged before a job starts."""
    for name in MODELS:
        study.model(f"own/{name}")


def make_models(study: Study) -> None:
    """Save a random model and two descendants, with the tokenizer of the world's texts."""
    stand_ins(study)
    done = study.snakemake("--cores", "1", "--", "results/tiny/world/tokenizer")
    assert done.returncode == 0, done.stdout
    program = Path(__file__).with_name("untrained_models.py")
    tokenizer = study.folder / "results" / "tiny" / "world" / "tokenizer"
    subprocess.run([PYTHON, program, tokenizer, study.folder / "own", *MODELS], check=True)


def finished(folder: Path) -> Finished:
    """Return the study after an undisturbed run; what is temporary was kept."""
    study = given_models(folder)
    make_models(study)
    done = study.snakemake("--cores", "2", "--notemp")
    assert done.returncode == 0, done.stdout[-20000:]
    return Finished(study, done.stdout)


def begun(before: Finished, folder: Path, *parts: str) -> Study:
    """Return the study in another folder with its models, and of its results only `parts`."""
    for part in ("own", *(f"results/tiny/{part}" for part in parts)):
        shutil.copytree(before.study.folder / part, folder / part)
    return Study(folder, before.study.config)
