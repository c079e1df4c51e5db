"""verl with two workers trains as one does: the same completions, updates equal within rounding.

One update a step: verl divides a step into updates by worker, so with several their rows differ.
"""

from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file
from verl_runs import SETTINGS, STEPS, Run

ONE = SETTINGS.model_copy(update={"mini_batch_size": SETTINGS.batch_size, "learning_rate": 1.0e-4})
WORKERS = {
    "trainer.n_gpus_per_node": 2,
    "+ray_kwargs.ray_init.num_gpus": 2,
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 2,  # the first one samples for both
}
TWO = ONE.model_copy(update={"engine_options": WORKERS})


def test_two_workers_train_as_one(world: Path) -> None:
    settings = {"one-worker": ONE, "two-workers": TWO}
    runs = [Run(world, world / name, name, given) for name, given in settings.items()]
    try:
        for run in runs:
            run.finish()
    finally:
        for run in runs:
            run.kill()
    one, two = (pd.read_csv(run.models / "grpo-curves.csv") for run in runs)
    assert [*one["step"]] == [*range(1, STEPS + 1)] and (one["grad_norm"] > 0).any()
    for column in ("reward", "response_length"):  # of the same completions
        assert one[column].equals(two[column])
    pd.testing.assert_frame_equal(
        one.drop(columns="seconds"), two.drop(columns="seconds"), rtol=1.0e-4, atol=1.0e-6
    )
    for k in range(1, 6):
        ours, theirs = (load_file(run.models / f"rl-{k}" / "model.safetensors") for run in runs)
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert torch.allclose(ours[name], theirs[name], rtol=0, atol=1.0e-5), name
