"""Bad input: the real Snakefile says one clear line before any job starts."""

import pytest
from conftest import Study


def refusal(study: Study, *arguments: str) -> str:
    """What Snakemake says when it refuses to start."""
    done = study.snakemake("--cores", "1", *arguments)
    assert done.returncode != 0
    assert not (study.folder / "results" / study.config["study"] / "logs").exists()
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("Using ")]
    assert len(lines) == 1, done.stdout
    return lines[0]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("crosscoder.d_spars", 64, "crosscoder.d_spars: unknown key; did you mean d_sparse?"),
        ("grpo.rollouts", "8", "grpo.rollouts: found '8' (text), must be a whole number"),
        ("families.tiny.base", "no/model", "there is no model directory no/model"),
        ("activations.layer", 4, "activations.layer: 4 is out of range for families.tiny"),
        ("world.problems", 31, "31 problems are fewer than one grpo.batch_size: 32"),
    ],
)
def test_a_bad_value_is_refused(study: Study, key: str, value: object, said: str) -> None:
    study.change(key, value)
    assert said in refusal(study)


def test_tokenizers_that_differ(study: Study) -> None:
    study.model("base")
    study.model("results/mini/models/tiny/rl-3", words="a c")
    study.change("families.tiny.base", "base")
    said = "tokenizers of base and results/mini/models/tiny/rl-3 differ"
    assert said in refusal(study)


def test_a_benchmark_file_without_a_column(study: Study) -> None:
    row = {"goal": "open it", "sol1": "key", "label": 0}
    study.change("evaluation.files.piqa", study.rows("piqa.jsonl", row))
    assert "piqa.jsonl lacks the column sol2; it has goal, sol1, label" in refusal(study)


def test_a_gpu_limit_below_a_rules_need(study: Study) -> None:
    study.change("resources.train_grpo", {"gpu": 8})
    said = "resources.train_grpo.gpu: the rule needs 8 GPUs, and --resources gpu=4 allows 4"
    assert said in refusal(study, "--resources", "gpu=4")
