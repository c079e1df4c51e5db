"""Models that no rule trained: a study of them starts at evaluation and extraction."""

import json
from pathlib import Path

import pytest
from conftest import TINY, Study, jobs
from given import Finished, given_models, stand_ins

from crosslens.config import study_design
from crosslens.config.sections import ModelSource
from crosslens.config.study import read_study
from crosslens.workflow.cost_estimate import job_counts

TRAINING = {
    *("pretrain_base", "pretrain_teacher", "prepare_problems", "generate_traces"),
    *("filter_traces", "train_sft", "count_prompts", "train_grpo"),
}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Return the study with models that nothing reads."""
    study = given_models(tmp_path)
    stand_ins(study)
    return study


def test_a_study_of_given_models(undisturbed: Finished) -> None:
    study, output = undisturbed
    assert not TRAINING & jobs(output).keys()
    assert jobs(output)["import_model"] == 3
    assert jobs(output)["train_crosscoders"] == 3
    results = study.folder / "results" / "tiny"
    for name in ("base", "sft-5", "rl-5"):
        given = study.folder / "own" / name.partition("-")[0] / "model.safetensors"
        ours = results / "models" / "own" / name / "model.safetensors"
        assert ours.read_bytes() == given.read_bytes()
    page = (results / "report.html").read_text()
    assert "SFT and RL models were user-supplied, not trained here" in " ".join(page.split())
    assert "LLaMA-Factory" not in page
    summary = json.loads((results / "summary.json").read_text())
    assert summary["training_data"] is None
    assert set(summary["families"]["own"]["accuracy"]) == {"base", "sft-5", "rl-5"}
    overlap = (results / "figures" / "figure2.csv").read_text().splitlines()
    assert {line.split(",")[1:3] == ["5", "5"] for line in overlap[1:]} == {True}
    assert len((results / "figures" / "figure8.csv").read_text().splitlines()) == 1
    assert "Nothing to be done" in study.snakemake("--dry-run", "--cores", "1").stdout


def test_all_five_checkpoints_of_one_paradigm(study: Study) -> None:
    study.config |= {key: TINY[key] for key in ("problems", "traces")}
    study.change("families.own.rl", ["own/rl"] * 5)
    del study.config["families"]["own"]["sft"]
    done = study.snakemake("--dry-run", "--cores", "1", "--quiet", "rules")
    count = jobs(done.stdout)
    assert count["train_sft"] == 1 and "train_grpo" not in count
    assert count["import_model"] == 6
    assert count["train_crosscoders"] == 3
    assert count["draw_training_curves"] == 2


def test_only_the_last_checkpoints_of_a_trained_family(tmp_path: Path) -> None:
    """All five are trained; two pairs, the trio, and what each needs are studied."""
    study = Study(tmp_path, TINY)
    study.change("families.tiny.checkpoints", "last")
    study.change("crosscoder", study.config["crosscoder"] | {"extra_seeds": 0, "evidence": []})
    count = jobs(study.snakemake("--dry-run", "--cores", "1", "--quiet", "rules").stdout)
    assert (count["train_sft"], count["train_grpo"]) == (1, 1)
    assert count["train_crosscoders"] == 3 * TINY["activations"]["shards"]
    assert count["extract_activations"] == 3 * (TINY["activations"]["shards"] + 1)
    loaded = read_study(study.config)
    planned = job_counts.jobs(loaded)
    assert {rule: planned[rule] for rule in count} == count
    family = loaded.families["tiny"]
    assert study_design.unstudied(family) == 8
    given = family.model_copy(update={"rl": [ModelSource(model=f"rl{k}") for k in range(5)]})
    assert study_design.given(given)["rl-5"].model == "rl4"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("families.own.sft", ["own/sft"] * 2, "families.own.sft: found 2 models. Give all 5"),
        ("families.own.sft", ["own/none"], "families.own.sft-5: there is no model directory"),
        ("families.own.sft", ["org/name"], "add its revision (or main) next to families.own.sft-5"),
        ("families.own.sft", ["own/other"], "the tokenizers of own/base and own/other differ"),
        ("families.own.sft", ["own/deep"], "its num_hidden_layers is 5, not 4"),
        (
            "families.own",
            {"label": "Own", "base": "own/base"},
            "problems: missing, but families.own is trained",
        ),
    ],
)
def test_what_cannot_be_studied_is_one_line(
    study: Study, key: str, value: object, said: str
) -> None:
    study.model("own/other", words="a c")
    study.model("own/deep", layers=5)
    study.change(key, value)
    done = study.snakemake("--dry-run", "--cores", "1")
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("Using ")]
    assert done.returncode and len(lines) == 1, done.stdout
    assert said in lines[0]
