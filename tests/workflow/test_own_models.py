"""Models that no rule trained: a study of them starts at evaluation and extraction."""

import json
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, TINY, Study, jobs

TRAINING = {
    *("pretrain_base", "pretrain_teacher", "prepare_problems", "generate_traces"),
    *("filter_traces", "train_sft", "train_grpo"),
}
PROGRAM = """
import sys
from pathlib import Path
import torch
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM
folder, tokenizer = Path(sys.argv[1]), AutoTokenizer.from_pretrained(sys.argv[2])
torch.manual_seed(0)
config = Qwen3Config(
    vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
    num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=512,
    initializer_range=0.2, tie_word_embeddings=True,
    pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
)
model = Qwen3ForCausalLM(config)
for name in ("base", "sft", "rl"):
    model.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / name)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """The smallest study without training: the world makes only benchmarks and corpora."""
    study = Study(tmp_path, TINY)
    for section in ("problems", "traces"):
        del study.config[section]
    models = {"base": "own/base", "sft": ["own/sft"], "rl": [{"model": "own/rl"}]}
    study.change("families", {"own": {"label": "Own", **models}})
    study.change("figures.families", ["own"] * 3)
    study.change("activations", {"shards": 1, "window": 1})
    study.change("crosscoder.replicas", 0)
    study.change("crosscoder.d_sparse", 64)
    return study


def make_models(study: Study) -> None:
    """A random model and two descendants, with the tokenizer of the world's texts."""
    stand_ins(study)
    done = study.snakemake("--cores", "1", "--", "results/tiny/world/tokenizer")
    assert done.returncode == 0, done.stdout
    tokenizer = study.folder / "results" / "tiny" / "world" / "tokenizer"
    python = ROOT / ".venvs" / "analysis" / "bin" / "python"
    subprocess.run([python, "-c", PROGRAM, study.folder / "own", tokenizer], check=True)


def stand_ins(study: Study) -> None:
    """The same models as far as they are judged before a job starts."""
    for name in ("base", "sft", "rl"):
        study.model(f"own/{name}")


def test_a_study_of_given_models(study: Study) -> None:
    make_models(study)
    done = study.snakemake("--cores", "2")
    assert done.returncode == 0, done.stdout[-20000:]
    assert not TRAINING & jobs(done.stdout).keys()
    assert jobs(done.stdout)["import_model"] == 3
    assert jobs(done.stdout)["train_crosscoder"] == 3
    results = study.folder / "results" / "tiny"
    for name in ("base", "sft-5", "rl-5"):
        given = study.folder / "own" / name.partition("-")[0] / "model.safetensors"
        ours = results / "models" / "own" / name / "model.safetensors"
        assert ours.read_bytes() == given.read_bytes()
    page = (results / "report.html").read_text()
    assert "SFT and RL models were given, not trained here" in " ".join(page.split())
    assert "LLaMA-Factory" not in page
    summary = json.loads((results / "summary.json").read_text())
    assert summary["training_data"] is None
    assert set(summary["families"]["own"]["accuracy"]) == {"base", "sft-5", "rl-5"}
    overlap = (results / "figures" / "figure2.csv").read_text().splitlines()
    assert {line.split(",")[1:3] == ["5", "5"] for line in overlap[1:]} == {True}
    assert len((results / "figures" / "figure8.csv").read_text().splitlines()) == 1
    assert "Nothing to be done" in study.snakemake("--dry-run", "--cores", "1").stdout


def test_all_five_checkpoints_of_one_paradigm(study: Study) -> None:
    stand_ins(study)
    study.config |= {key: TINY[key] for key in ("problems", "traces")}
    study.change("families.own.rl", ["own/rl"] * 5)
    del study.config["families"]["own"]["sft"]
    done = study.snakemake("--dry-run", "--cores", "1", "--quiet", "rules")
    count = jobs(done.stdout)
    assert count["train_sft"] == 1 and "train_grpo" not in count
    assert count["import_model"] == 6
    assert count["train_crosscoder"] == 11
    assert count["draw_training_curves"] == 2


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("families.own.sft", ["own/sft"] * 2, "families.own.sft: found 2 models, must be 5"),
        ("families.own.sft", ["own/none"], "families.own.sft-5: there is no model directory"),
        ("families.own.sft", ["org/name"], "give the key revision beside families.own.sft-5"),
        ("families.own.sft", ["own/other"], "the tokenizers of own/base and own/other differ"),
        ("families.own.sft", ["own/deep"], "its num_hidden_layers is 5, not 4"),
        (
            "families.own",
            {"label": "Own", "base": "own/base"},
            "problems: missing, and families.own",
        ),
    ],
)
def test_what_cannot_be_studied_is_one_line(
    study: Study, key: str, value: object, said: str
) -> None:
    stand_ins(study)
    study.model("own/other", words="a c")
    study.model("own/deep", layers=5)
    study.change(key, value)
    done = study.snakemake("--dry-run", "--cores", "1")
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("Using ")]
    assert done.returncode and len(lines) == 1, done.stdout
    assert said in lines[0]
