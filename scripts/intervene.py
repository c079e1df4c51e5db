"""Edit one model by every arm of the causal protocol, and answer all questions each time."""

from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file

from crosslens.analysis.arms import arms, extent_of
from crosslens.analysis.causal_protocol import ArmRunner, arrays_of
from crosslens.analysis.edited_answers import EditedModel
from crosslens.analysis.edits import ZERO, Dose, Editor
from crosslens.analysis.feature_scores import BASE, RL
from crosslens.analysis.question_table import groups_of
from crosslens.analysis.steering import companions, steering_vectors
from crosslens.config.sections import ActivationsConfig, CausalProtocolConfig, EvaluationConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.questions import read_questions
from crosslens.evaluation.split_model import SplitModel
from crosslens.io.records import read_json, write_arrays, write_json
from crosslens.models.loading import load_network
from crosslens.models.transformers_light import AutoModelForCausalLM
from crosslens.workflow.job import run_job


def main(
    *,
    edited_model: str,
    replicate: int,
    models: list[Path],
    questions: Path,
    table: Path,
    states: Path,
    features: Path,
    crosscoder: Path,
    evaluation: EvaluationConfig,
    activations: ActivationsConfig,
    protocol: CausalProtocolConfig,
    amplify_to: float,
    seed: int,
    records: Path,
    outcomes: Path,
) -> None:
    """Write arms.json, and the choice and margin of every arm and question."""
    torch.set_num_threads(1)
    trio, chosen, rows = Crosscoder.load(crosscoder), read_json(features), pd.read_csv(table)
    index, layer = trio.models.index(edited_model), trio.metadata["layer"]
    extent = extent_of(protocol, index, replicate)
    network = load_network(models[index], AutoModelForCausalLM)
    trio = trio.to(network.device).requires_grad_(False)
    partner = (RL if index == BASE else BASE) if extent.full else None
    edited = EditedModel(
        SplitModel(network, layer),
        trio,
        index,
        read_questions(questions),
        list(zip(rows["task"], rows["half"], strict=True)),
        batch_size=evaluation.batch_size,
        skip_positions=activations.skip_positions,
        sink_threshold=activations.sink_threshold,
        companions=companions(models, layer, partner, joint=chosen["readout"] == "joint"),
    )
    groups, inside = groups_of(rows, evaluation.tasks)
    final = load_file(states)["states"][inside].float().to(network.device)
    runner = ArmRunner(
        edited,
        Editor(trio, index, chosen["readout"]),
        chosen,
        evaluation.tasks,
        steering=steering_vectors(final, groups),
        toward=1 if index == BASE else -1,
        seed=seed,
    )
    wanted = arms(
        chosen,
        evaluation.tasks,
        evaluation.heldout_tasks,
        dose=Dose("clamp", protocol.amplify) if index == BASE else ZERO,
        paper_dose=Dose("set", amplify_to if index == BASE else 0.0),
        extent=extent,
    )
    results = list(runner.run(list(wanted)))
    write_arrays(outcomes, arrays_of(results, edited.unedited))
    write_json(records, [r.record() for r in results])


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        edited_model=snakemake.wildcards.edited_model,
        replicate=snakemake.wildcards.replicate,
        **{name: snakemake.input[name] for name in snakemake.input.keys()},  # noqa: SIM118
        evaluation=snakemake.params.evaluation,
        activations=snakemake.params.activations,
        protocol=snakemake.params.protocol,
        amplify_to=snakemake.params.amplify_to,
        seed=snakemake.params.seed,
        records=snakemake.output.records,
        outcomes=snakemake.output.outcomes,
    )
