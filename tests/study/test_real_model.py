"""The real study (tests/config/real.yaml), cut down to minutes: a real model, data and engines.

SmolLM2-135M is trained by LLaMA-Factory and by verl, answers real questions, and is compared by
crosscoders on real text, up to the report. What it learns in five steps of four is not judged.
"""

import csv
import json
import math
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Study
from real_material import real

from crosslens.io.records import read_jsonl

PYTHON = {name: ROOT / ".venvs" / name / "bin" / "python" for name in ("analysis", "sft")}
CHANGES = {
    "problems.limit": 20,
    "sft.micro_batch_size": 2,
    "grpo.batch_size": 4,
    "grpo.mini_batch_size": 4,
    "grpo.rollouts": 2,
    "evaluation.limit": 4,
    "evaluation.math.word_problems.repeats": 1,
    "corpus.tokens": 8192,
    "corpus.heldout_tokens": 4096,
    "corpus.sequence_length": 128,
    "activations.shards": 1,
    "crosscoder.d_sparse": 256,
    "crosscoder.batch_size": 256,
    "crosscoder.epochs": 1,
    "crosscoder.extra_seeds": 0,
    "crosscoder.evidence": [],
    "metrics.splice_tokens": 512,
    "metrics.feature_cards": 4,
    "causal_protocol.matched_sets": 1,
}


def smollm2(folder: Path) -> Path:
    """Return the model's directory: that of the variable SMOLLM2, or one made of a package."""
    if ready := os.environ.get("SMOLLM2"):
        return Path(ready)
    subprocess.run([PYTHON["analysis"], real("make_smollm2.py"), folder], check=True)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the study to its end and return where its outputs are."""
    text = (ROOT / "tests" / "config" / "real.yaml").read_text()
    folder = tmp_path_factory.mktemp("real")
    study = Study(folder, yaml.safe_load(text.replace("../shared/real", str(real("")))))
    for key, value in CHANGES.items():
        study.change(key, value)
    maker = ROOT / "tests" / "study" / "make_real_base.py"
    given = folder / "results" / "real-input"
    subprocess.run(
        [PYTHON["sft"], maker, smollm2(folder / "smollm2"), given, "--no-cold-start"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        check=True,
    )
    done = study.snakemake("--cores", "2")
    assert done.returncode == 0, done.stdout[-20000:]
    return folder / "results" / "real"


def numbers(file: Path, column: str) -> list[float]:
    """Return a column of a CSV file."""
    with file.open() as lines:
        return [float(row[column]) for row in csv.DictReader(lines)]


def test_both_engines_train_the_model(results: Path) -> None:
    loss = numbers(results / "models" / "smollm2" / "sft-loss.csv", "loss")
    assert len(loss) == 5 and loss[-1] < loss[0]
    lengths = numbers(results / "models" / "smollm2" / "grpo-curves.csv", "response_length")
    assert len(lengths) == 5 and all(2 <= length <= 32 for length in lengths)


def test_three_models_answer_real_questions(results: Path) -> None:
    summary = json.loads((results / "summary.json").read_text())
    accuracy = summary["families"]["smollm2"]["accuracy"]
    assert set(accuracy) == {"base", "sft-5", "rl-5"}
    for by_task in accuracy.values():
        assert set(by_task) == {
            *("openbookqa", "commonsense_qa", "arc_challenge", "logiqa", "piqa", "word_problems")
        }
        assert all(task["n"] == 4 for task in by_task.values())


def test_the_crosscoders_learn_from_its_activations(results: Path) -> None:
    folders = sorted((results / "crosscoders" / "smollm2").glob("*-r0"))
    assert [folder.name for folder in folders] == ["rl-5-r0", "sft-5-r0", "trio-r0"]
    for folder in folders:
        loss = numbers(folder / "training.csv", "loss")
        assert loss[-1] < loss[0] and all(map(math.isfinite, loss))


def test_features_fire_on_words_of_the_real_texts(results: Path) -> None:
    worked = read_jsonl(real("corpora/champ_traces.jsonl"))
    texts = [turn["value"] for row in worked for turn in row["conversations"]]
    texts += [row["text"] for row in read_jsonl(real("corpora/brown.jsonl"))]
    corpus = "".join(texts)
    cards = read_jsonl(results / "features" / "smollm2.jsonl")
    contexts = [context for card in cards for context in card["contexts"]["strongest"]]
    assert len(contexts) > 10
    found = sum("".join(context["tokens"]) in corpus for context in contexts)
    assert found > 0.5 * len(contexts)


def test_the_report_is_written(results: Path) -> None:
    assert "SmolLM2-135M" in (results / "report.html").read_text()
