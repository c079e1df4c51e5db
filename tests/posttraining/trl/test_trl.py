"""GRPO by TRL, for real: a few steps on a tiny model, its checkpoints and its curves."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file
from tiny_grpo import TINY_GRPO
from tiny_models import CONFIGS, declare_another_end, tiny_model, tiny_problems, tiny_solver
from transformers import AutoModelForCausalLM
from trl import GRPOConfig

from crosslens.data.traces import grpo_rows
from crosslens.io.errors import InputError
from crosslens.posttraining import resumable_run
from crosslens.posttraining.grpo import reward, trl

pytestmark = pytest.mark.slow
SETTINGS = TINY_GRPO


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return 26 problems: six steps of four, which five does not divide, and two more."""
    pd.DataFrame(grpo_rows(tiny_problems(26), 4)).to_parquet(tmp_path / "grpo.parquet")
    return tmp_path / "grpo.parquet"


def trained(base: Path, data: Path, models: Path, **changes) -> pd.DataFrame:
    models.mkdir(exist_ok=True)
    return trl.train(
        settings=SETTINGS.model_copy(update=changes),
        model=base,
        data=data,
        seed=0,
        gpus=0,
        run=models / ".run",
        out=[models / f"rl-{k}" for k in range(1, 6)],
    )


@pytest.mark.parametrize("architecture", CONFIGS)
def test_run_gives_five_plain_checkpoints_and_curves(
    architecture: str, data: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv(reward.MARK, str(tmp_path / "mark"))
    base, models = tiny_solver(tmp_path / "base", architecture=architecture), tmp_path / "models"
    curves = trained(base, data, models)
    assert {p.name for p in models.iterdir()} == {".run", *(f"rl-{k}" for k in range(1, 6))}
    weights = [load_file(base / "model.safetensors")]
    for k in range(1, 6):
        assert {f.name for f in (models / f"rl-{k}").iterdir()} == {f.name for f in base.iterdir()}
        AutoModelForCausalLM.from_pretrained(models / f"rl-{k}")
        weights.append(load_file(models / f"rl-{k}" / "model.safetensors"))
    name = "model.embed_tokens.weight"
    assert all(not a[name].equal(b[name]) for a, b in zip(weights, weights[1:], strict=False))
    assert (tmp_path / "mark").exists()

    assert list(curves["step"]) == [1, 2, 3, 4, 5, 6]
    assert curves.notna().all(axis=None)
    assert curves["reward"].between(0, 1).all() and curves["reward"].sum() > 0
    assert curves["response_length"].between(1, 8).all()
    assert (curves["seconds"] > 0).all() and (curves["grad_norm"] > 0).any()


def test_the_templates_end_of_turn_ends_a_completion(data: Path, tmp_path: Path) -> None:
    """The base declares another end, and has learned the template's."""
    base = declare_another_end(tiny_solver(tmp_path / "base"))
    curves = trained(base, data, tmp_path / "models")
    assert (curves["response_length"] < SETTINGS.max_response_length).all()


def test_killed_run_resumes_to_identical_weights(data: Path, tmp_path: Path) -> None:
    base, models = tiny_solver(tmp_path / "base"), tmp_path / "killed"
    program = "import sys, test_trl; test_trl.trained(*map(test_trl.Path, sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(base), str(data), str(models)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        while not (models / ".run" / "checkpoint-6" / resumable_run.COMPLETE_MARK).exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
    reached = resumable_run.checkpoint_step(resumable_run.last_complete_checkpoint(models / ".run"))
    assert reached in (6, 8, 10) and [path.name for path in models.iterdir()] == [".run"]
    with pytest.raises(InputError, match=f"checkpoint-{reached} of a run with different settings"):
        trained(base, data, models, learning_rate=1.0e-3)
    ours = trained(base, data, models)
    theirs = trained(base, data, tmp_path / "undisturbed")
    assert [*ours["step"]] == [1, 2, 3, 4, 5, 6]
    pd.testing.assert_frame_equal(ours.drop(columns="seconds"), theirs.drop(columns="seconds"))
    for k in range(1, 6):
        one, two = (
            path / f"rl-{k}" / "model.safetensors" for path in (models, tmp_path / "undisturbed")
        )
        assert one.read_bytes() == two.read_bytes()


def test_arguments_are_those_of_trl(tmp_path: Path) -> None:
    config = GRPOConfig(**trl.trainer_arguments(SETTINGS, out=tmp_path, steps=6, seed=3))
    assert (config.num_generations, config.per_device_train_batch_size) == (4, 8)
    assert (config.generation_batch_size, config.steps_per_generation) == (16, 2)
    assert (config.max_steps, config.save_steps, config.logging_steps) == (12, 2, 2)
    assert (config.epsilon, config.epsilon_high, config.delta, config.beta) == (0.22, 0.28, 3, 0)
    assert (config.loss_type, config.scale_rewards) == ("bnpo", "group")
    assert (config.learning_rate, str(config.lr_scheduler_type.value)) == (5e-3, "constant")
    assert (config.top_p, config.top_k, config.min_p) == (1.0, 0, None)
    assert (config.seed, config.use_cpu, config.bf16) == (3, True, False)


def test_options_take_precedence(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"engine_options": {"top_p": 0.9}})
    assert trl.trainer_arguments(settings, out=tmp_path, steps=6, seed=3)["top_p"] == 0.9


def test_too_few_problems_are_an_error_before_training(data: Path, tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base")
    with pytest.raises(InputError, match="26 problems give 3 steps of 8 prompts"):
        trained(base, data, tmp_path / "models", batch_size=8)
    assert not list((tmp_path / "models").iterdir())
