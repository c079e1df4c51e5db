"""A few steps of GRPO by TRL on a tiny model, through the project's own backend."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.gpu.section import Machine, Part, Result, require

PROBLEMS = 20  # five steps of four


def train(device: str) -> Result:
    """Train five steps; return rewards and the time of a step."""
    import pandas as pd
    from safetensors.torch import load_file
    from tiny_grpo import TINY_GRPO
    from tiny_models import tiny_problems, tiny_solver

    from crosslens.data.traces import grpo_rows
    from crosslens.posttraining.grpo import trl

    settings = TINY_GRPO.model_copy(update={"device": device, "engine": "trl"})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base, data = tiny_solver(folder / "base"), folder / "grpo.parquet"
        pd.DataFrame(grpo_rows(tiny_problems(PROBLEMS), settings.rollouts)).to_parquet(data)
        out = [folder / f"rl-{k}" for k in range(1, 6)]
        gpus = int(device == "cuda")
        curves = trl.train(
            settings=settings, model=base, data=data, seed=0, gpus=gpus, run=folder / "run", out=out
        )
        before, after = (load_file(path / "model.safetensors") for path in (base, out[-1]))
    require(len(curves) == 5, f"{len(curves)} steps instead of 5")
    require(bool(np.isfinite(curves.to_numpy(dtype=float)).all()), "a curve is not finite")
    require(any(not before[k].equal(after[k]) for k in before), "no weight changed")
    seconds = float(curves["seconds"].median())
    reward = float(curves["reward"].mean())
    text = f"5 steps, mean reward {reward:.2f}, {seconds:.2f} s a step, 5 checkpoints"
    return Result(text, {"seconds a step": seconds, "mean reward": reward})


def parts(machine: Machine) -> list[Part]:
    """Return the one part."""
    packages = ("transformers", "trl", "accelerate", "datasets", "pandas", "pyarrow", "pydantic")
    run = partial(train, machine.device)
    return [Part(f"TRL, tiny model, {machine.device}", run, packages=packages)]
