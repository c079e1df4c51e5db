"""Edit one model by every arm of the causal protocol, and answer all questions under each edit."""

from pathlib import Path

import pandas as pd
import torch

from crosslens.analysis.arms import arms_of_model, patched_from
from crosslens.analysis.causal_protocol import ArmRunner, arrays_of
from crosslens.analysis.edited_answers import EditedModel
from crosslens.analysis.edits import Editor
from crosslens.analysis.question_table import parts_of, states_of
from crosslens.analysis.steering import companions, steering_vectors
from crosslens.config.sections import ActivationsConfig, CausalProtocolConfig, EvaluationConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.questions import read_questions
from crosslens.evaluation.split_model import load_split
from crosslens.io.records import read_json, write_arrays, write_json
from crosslens.workflow.job import run_job


def main(
    *,
    edited_model: str,
    full: bool,
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
    trio, chosen, rows = Crosscoder.load_frozen(crosscoder), read_json(features), pd.read_csv(table)
    index = trio.models.index(edited_model)
    arms = arms_of_model(
        chosen, evaluation, protocol, amplify_to=amplify_to, model=index, full=full
    )
    layer, readout = trio.metadata["layer"], chosen["readout"]
    edited = EditedModel(
        load_split(models[index], layer),
        trio,
        index,
        read_questions(questions),
        parts_of(rows),
        batch_size=evaluation.batch_size,
        skip_positions=activations.skip_positions,
        sink_threshold=activations.sink_threshold,
        companions=companions(models, layer, patched_from(arms, index), joint=readout == "joint"),
    )
    groups, final = states_of(states, rows, evaluation.tasks)
    runner = ArmRunner(
        edited,
        Editor(trio, index, readout),
        chosen,
        evaluation.tasks,
        steering=steering_vectors(final, groups),
        seed=seed,
    )
    results = list(runner.run(arms))
    write_arrays(outcomes, arrays_of(results, edited.unedited))
    write_json(records, [r.record() for r in results])


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        edited_model=snakemake.wildcards.edited_model,
        full=snakemake.params.full,
        **{name: snakemake.input[name] for name in snakemake.input.keys()},  # noqa: SIM118
        evaluation=snakemake.params.evaluation,
        activations=snakemake.params.activations,
        protocol=snakemake.params.protocol,
        amplify_to=snakemake.params.amplify_to,
        seed=snakemake.params.seed,
        records=snakemake.output.records,
        outcomes=snakemake.output.outcomes,
    )
