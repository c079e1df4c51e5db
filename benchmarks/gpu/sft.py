"""A few steps of SFT by LLaMA-Factory on a tiny model, with and without DeepSpeed's ZeRO-3.

The part with ZeRO-3 needs a GPU: for processes on a CPU DeepSpeed compiles a transport of its own.
"""

import tempfile
from functools import partial
from pathlib import Path

from benchmarks.gpu.section import Machine, Part, Result, require

TRACES = 20  # five steps of four
PACKAGES = ("torch", "transformers", "llamafactory", "accelerate", "datasets", "pandas", "pydantic")


def train(deepspeed: str, device: str) -> Result:
    """Train five steps; return the first and the last loss."""
    from crosslens.posttraining.backend_process import hide_media_packages

    hide_media_packages()
    import pandas as pd
    from safetensors.torch import load_file
    from tiny_models import tiny_model, tiny_traces

    from crosslens.config.sections import SFTConfig
    from crosslens.data.traces import DATASET, dataset_info, sft_rows
    from crosslens.io.records import write_json
    from crosslens.posttraining.sft import llama_factory

    cuda = device == "cuda"
    settings = SFTConfig(
        learning_rate=1.0e-2,
        batch_size=4,
        micro_batch_size=2,
        max_length=64,
        bf16=cuda,
        deepspeed=deepspeed,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base, data, run = tiny_model(folder / "base"), folder / "data", folder / "run"
        data.mkdir()
        write_json(data / "dataset_info.json", dataset_info())
        write_json(data / f"{DATASET}.json", sft_rows(tiny_traces(TRACES)))
        llama_factory.train(
            base=base, data=data, run=run, settings=settings, seed=0, gpus=int(cuda)
        )
        out, losses = [folder / f"sft-{k}" for k in range(1, 6)], folder / "loss.csv"
        llama_factory.collect_checkpoints(run, base, out, losses)
        loss = pd.read_csv(losses)["loss"]
        before, after = (load_file(path / "model.safetensors") for path in (base, out[-1]))
    require(before.keys() == after.keys(), "the checkpoint has other tensors than the base model")
    require(all(after[k].numel() for k in after), "the checkpoint has empty tensors")
    require(any(not before[k].equal(after[k]) for k in before), "no weight changed")
    first, last = float(loss.iloc[0]), float(loss.iloc[-1])
    require(last < first, f"the loss went from {first:.3f} to {last:.3f}")
    return Result(f"5 steps, loss {first:.3f} to {last:.3f}, 5 checkpoints", {"last loss": last})


def parts(machine: Machine) -> list[Part]:
    """Return a part with and one without DeepSpeed."""
    name, device = "LLaMA-Factory, tiny model", machine.device
    zero3 = Part(
        f"{name}, ZeRO-3",
        partial(train, "zero3", device),
        packages=(*PACKAGES, "deepspeed"),
        cuda=True,
    )
    return [zero3, Part(f"{name}, {device}", partial(train, "none", device), packages=PACKAGES)]
