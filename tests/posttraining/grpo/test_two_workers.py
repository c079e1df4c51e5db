"""verl with two workers trains as one does: the same completions, updates equal within rounding.

One update a step: verl divides a step into updates by worker, so with several their rows differ.
The two are killed on the way, and resume from what each of them has saved.
"""

from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file
from verl_runs import SETTINGS, STEPS, Run

from crosslens.posttraining import resumable_run

ONE = SETTINGS.model_copy(update={"mini_batch_size": SETTINGS.batch_size, "learning_rate": 1.0e-4})
WORKERS = {
    "trainer.n_gpus_per_node": 2,
    "+ray_kwargs.ray_init.num_gpus": 2,
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 2,  # the first one samples for both
}
TWO = ONE.model_copy(update={"engine_options": WORKERS})


def test_two_workers_killed_and_resumed_train_as_one(world: Path) -> None:
    folders = [world / "one-worker", world / "two-workers"]
    runs = [Run(world, folders[0], "one-worker", ONE), Run(world, folders[1], "two-workers", TWO)]
    try:
        runs[1].wait_for(5)
        runs[1].kill()
        reached = resumable_run.last_complete_checkpoint(runs[1].run)
        step = resumable_run.checkpoint_step(reached)  # completed some time after it is saved
        assert step in (2, 4, 6)
        assert len([*reached.glob("actor/optim_world_size_2_rank_*.pt")]) == 2
        runs.append(Run(world, folders[1], "two-workers-again", TWO))
        runs[2].finish()
        runs[0].finish()
    finally:
        for run in runs:
            run.kill()
    assert runs[2].steps() == [*range(step + 1, STEPS + 1)]
    one, two = (pd.read_csv(folder / "grpo-curves.csv") for folder in folders)
    assert [*one["step"]] == [*range(1, STEPS + 1)] and (one["grad_norm"] > 0).any()
    for column in ("reward", "response_length"):  # of the same completions
        assert one[column].equals(two[column])
    pd.testing.assert_frame_equal(
        one.drop(columns="seconds"), two.drop(columns="seconds"), rtol=1.0e-4, atol=1.0e-6
    )
    for k in range(1, 6):
        ours, theirs = (load_file(folder / f"rl-{k}" / "model.safetensors") for folder in folders)
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert torch.allclose(ours[name], theirs[name], rtol=0, atol=1.0e-5), name
