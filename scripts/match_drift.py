"""Write the model between base and the final SFT model that is as far from base as RL."""

import copy
from pathlib import Path

import torch

from crosslens.activations.drift import interpolate, match_drift
from crosslens.config.sections import ActivationsConfig
from crosslens.io.atomic import atomic_write
from crosslens.io.records import write_json
from crosslens.models.tokenizer import load_tokenizer
from crosslens.workflow.job import run_job


def write_model(base: Path, sft: Path, alpha: float, out: Path) -> None:
    """Write the complete interpolated model, in the SFT model's dtype, with its tokenizer."""
    from transformers import AutoModelForCausalLM

    one, other = (AutoModelForCausalLM.from_pretrained(path, dtype="auto") for path in (base, sft))
    between = copy.deepcopy(other)
    interpolate(between, one, other, alpha)
    with atomic_write(out) as partial:
        between.save_pretrained(partial)
        load_tokenizer(sft).save_pretrained(partial)


def main(
    *,
    corpus: Path,
    base: Path,
    sft: Path,
    rl: Path,
    settings: ActivationsConfig,
    model: Path,
    measured: Path,
) -> None:
    """Find the alpha whose model has the drift of RL; write that model and the numbers."""
    torch.set_num_threads(1)
    drifts = match_drift(corpus, base, sft, rl, settings)
    write_model(base, sft, drifts.alpha, model)
    write_json(measured, drifts._asdict())


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        corpus=snakemake.input.corpus,
        base=snakemake.input.base,
        sft=snakemake.input.sft,
        rl=snakemake.input.rl,
        settings=snakemake.params.activations,
        model=snakemake.output.model,
        measured=snakemake.output.measured,
    )
