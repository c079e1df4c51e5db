"""small.yaml, examples/ and the real study on two cores: valid, planned, and dry-run."""

from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Study, jobs
from real_material import real
from real_word_problems import problem_sets

from crosslens.config.loading import load_study
from crosslens.config.locations import downloads
from crosslens.config.study import read_study
from crosslens.config.study_design import trains
from crosslens.io.records import write_jsonl
from crosslens.workflow.cost_estimate import disk_space, job_counts

SMALL = ROOT / "small.yaml"
PUBLIC = sorted((ROOT / "examples").glob("*.yaml"))


def content(file: Path) -> dict:
    return yaml.safe_load(file.read_text())


@pytest.mark.parametrize("file", [SMALL, *PUBLIC], ids=lambda file: file.stem)
def test_a_configuration_can_be_read_and_planned(file: Path, tmp_path: Path, monkeypatch) -> None:
    """Nothing local is named: models and data are of the hub, each with a revision."""
    monkeypatch.chdir(tmp_path)
    study = load_study(content(file), ROOT / "scripts", gpus=1)
    assert trains(study.families) == (file == SMALL)
    named = job_counts.jobs(study)["download_source"]
    assert named == len(downloads(study)) > 10
    disk = disk_space.disks(study)
    assert disk_space.peak(disk, rolling=True, at_once=False) < 0.6e12
    assert f"--configfile {file.relative_to(ROOT)} --cores all" in file.read_text()


def test_the_real_study_on_two_cores(tmp_path: Path) -> None:
    """Real data from ../shared/real; of the model only what is judged before a job starts."""
    text = (ROOT / "tests" / "config" / "real.yaml").read_text()
    config = yaml.safe_load(text.replace("../shared/real", str(real(""))))
    study = Study(tmp_path, config)
    given = tmp_path / "results" / "real-input"
    study.model("results/real-input/base", layers=30, max_position_embeddings=8192, hidden_size=576)
    _, trained, asked = problem_sets()
    write_jsonl(given / "problems.jsonl", trained)
    write_jsonl(given / "word_problems.jsonl", asked)
    done = study.snakemake("--dry-run", "--cores", "2", "--quiet", "rules")
    assert done.returncode == 0, done.stdout
    count = jobs(done.stdout)
    assert (count["train_sft"], count["train_grpo"], count["prepare_benchmark"]) == (1, 1, 6)
    planned = job_counts.jobs(read_study(config))
    assert {rule: planned[rule] for rule in count} == count


def test_there_are_two_public_trios() -> None:
    assert len(PUBLIC) >= 2


@pytest.mark.parametrize("file", [SMALL, *PUBLIC], ids=lambda file: file.stem)
def test_a_dry_run_has_the_jobs_of_the_plan(file: Path, tmp_path: Path) -> None:
    study = Study(tmp_path, content(file))
    done = study.snakemake("--dry-run", "--cores", "1", "--resources", "gpu=1", "--quiet", "rules")
    assert done.returncode == 0, done.stdout
    planned = job_counts.jobs(read_study(content(file)))
    found = jobs(done.stdout)
    assert {rule: planned[rule] for rule in found} == found
    assert set(found) >= {"evaluate_model", "train_crosscoders", "intervene"}
