"""A planted world for the causal protocol: which feature makes RL answer right is known.

Every question has evidence for four choices: base reads half-truths from it, and a gate adds the
truth. RL opens the gate. In the world "cause" a feature that RL raises writes to the gate; in the
world "disturber" RL opens the gate by itself, and the feature that it raises only adds to the
evidence, in a direction that knows nothing of the questions, as all other features do.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from crosslens.analysis.arms import Extent, with_controls
from crosslens.analysis.causal_protocol import ArmRunner, Result, arrays_of
from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.critical_samples import CELLS, HALVES, cell_of, half_of
from crosslens.analysis.edited_answers import EditedModel
from crosslens.analysis.edits import ZERO, Dose, Editor
from crosslens.analysis.feature_scores import Groups, Scores, score
from crosslens.analysis.feature_sets import Choice, Counts, feature_sets
from crosslens.analysis.outcomes import Benchmark, Run
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.questions import Question
from crosslens.evaluation.split_model import SplitModel
from crosslens.evaluation.token_trees import Scores as ChoiceScores

TASKS, HELD_OUT = ["t0", "t1", "t2"], ["t3"]
CHOICES, GATE, AXES = 4, 8, 9
FEATURES, RAISED = 60, 3
MODELS = ("base", "sft", "rl")
AMPLIFY = Dose("clamp", 1.0)


class PlantedModel(SplitModel):
    """A model whose states are a table by token, and whose upper half is one gated sum."""

    def __init__(self, table: torch.Tensor) -> None:
        self.table, self.device = table, torch.device("cpu")

    def states(self, batch):
        return self.table[batch.ids]

    def scores(self, batch, states):
        h = states[:, 0]
        logits = h[:, :CHOICES] + h[:, GATE, None].relu() * h[:, CHOICES : 2 * CHOICES]
        log_probs = logits.log_softmax(dim=-1)
        return ChoiceScores(log_probs, log_probs, log_probs == log_probs.amax(dim=-1, keepdim=True))


class World(NamedTuple):
    """Models, questions and the crosscoder that reads every feature from an axis of its own."""

    models: dict[str, PlantedModel]
    questions: list[Question]
    crosscoder: Crosscoder
    halves: list[str]
    kind: str
    seed: int


def make_world(kind: str, seed: int, questions: int = 60) -> World:
    """Draw a world; `questions` are those of each task."""
    rng = np.random.default_rng(seed)
    count = questions * len(TASKS + HELD_OUT)
    right = rng.integers(CHOICES, size=count)
    base = rng.normal(0, 0.4, size=(count, AXES + FEATURES))
    told = np.where(rng.random(count) < 0.35, right, rng.integers(CHOICES, size=count))
    base[np.arange(count), told] += 1.0
    base[np.arange(count), CHOICES + right] += 1.0
    base[:, GATE] = 0.0
    base[:, AXES:] = rng.uniform(1.0, 2.0, size=(count, FEATURES))
    base[:, AXES : AXES + RAISED] = 0.0  # what RL raises base does not have
    rl = base.copy()
    rl[:, AXES : AXES + RAISED] = rng.uniform(1.0, 2.0, size=(count, RAISED))
    rl[:, GATE] = 1.5
    crosscoder = crosscoder_of(kind, rng, np.arange(FEATURES), np.ones(FEATURES))
    names = [task for task in (*TASKS, *HELD_OUT) for _ in range(questions)]
    asked = [
        Question(
            *(task, i, f"{seed}-{i}", f"{seed}-{i}", [i], [[]] * CHOICES, [0] * CHOICES),
            targets=[[c] for c in range(CHOICES)],
            right=[bool(c == right[i]) for c in range(CHOICES)],
        )
        for i, task in enumerate(names)
    ]
    tables = {"base": base, "sft": base, "rl": rl}
    models = {name: PlantedModel(torch.from_numpy(t).float()) for name, t in tables.items()}
    halves = [half_of(q.passage, seed) for q in asked]
    return World(models, asked, crosscoder, halves, kind, seed)


def crosscoder_of(
    kind: str, rng: np.random.Generator, order: np.ndarray, strength: np.ndarray
) -> Crosscoder:
    """Draw a crosscoder whose feature k reads axis `order[k]`, times its strength."""
    crosscoder = Crosscoder(3, AXES + FEATURES, FEATURES, metadata={})
    crosscoder.W_enc.data.zero_()
    reads = torch.from_numpy(strength).float()
    crosscoder.W_enc.data[:, AXES + order, torch.arange(FEATURES)] = reads
    crosscoder.b_enc.data.zero_()
    written = rng.normal(size=(FEATURES, CHOICES))
    written *= 0.5 / np.linalg.norm(written, axis=1, keepdims=True)
    crosscoder.W_dec.data.zero_()
    crosscoder.W_dec.data[:, :, :CHOICES] = torch.from_numpy(written).float()
    if kind == "cause":
        crosscoder.W_dec.data[:, order == 0] = 0.0
        crosscoder.W_dec.data[:, order == 0, GATE] = 0.5
    return crosscoder.requires_grad_(False)


def seeds_of(world: World, count: int = 3) -> list[World]:
    """Return worlds of the same models and questions with crosscoders of different seeds.

    The features of each are in another order, differ in strength by up to a quarter, and write in
    directions of their own; the cause's direction is the same.
    """
    worlds = [world]
    for replicate in range(1, count):
        rng = np.random.default_rng([world.seed, replicate])
        order, strength = rng.permutation(FEATURES), rng.uniform(0.8, 1.25, FEATURES)
        other = crosscoder_of(world.kind, rng, order, strength)
        worlds.append(world._replace(crosscoder=other))
    return worlds


def edited_model(world: World, name: str) -> EditedModel:
    """Return a model with its states on all questions and its unedited answers."""
    parts = [(q.task, half) for q, half in zip(world.questions, world.halves, strict=True)]
    options = {"batch_size": 999, "skip_positions": 0, "sink_threshold": float("inf")}
    model, index = world.models[name], MODELS.index(name)
    return EditedModel(model, world.crosscoder, index, world.questions, parts, **options)


def benchmark_of(world: World, models: dict[str, EditedModel]) -> Benchmark:
    """Return what is known of the questions."""
    right = models["base"].right
    answers = {name: models[name].unedited.choice for name in ("base", "rl")}
    rows = np.arange(len(right))
    cells = [
        cell_of(bool(b), bool(r))
        for b, r in zip(right[rows, answers["base"]], right[rows, answers["rl"]], strict=True)
    ]
    return Benchmark(
        TASKS,
        HELD_OUT,
        [q.task for q in world.questions],
        world.halves,
        [q.passage for q in world.questions],
        right,
        np.full(len(right), CHOICES),
        answers | {"sft": answers["base"]},
        np.array(cells) == "won",
    )


def scores_of(world: World, benchmark: Benchmark) -> Scores:
    """Scores on the selection tasks."""
    chosen = np.flatnonzero(benchmark.among(TASKS))
    states = torch.stack([world.models[name].table[chosen] for name in MODELS], dim=1)
    base, rl = (benchmark.is_right(benchmark.answers[n])[chosen] for n in ("base", "rl"))
    groups = Groups(
        TASKS,
        np.array([TASKS.index(world.questions[i].task) for i in chosen]),
        np.array([HALVES.index(world.halves[i]) for i in chosen]),
        np.array(
            [CELLS.index(cell_of(b, r)) for b, r in zip(base.tolist(), rl.tolist(), strict=True)]
        ),
    )
    return score(world.crosscoder, states, groups, readout="branch", unit="p99")


def chosen_of(world: World, benchmark: Benchmark, controls: int) -> dict[str, Any]:
    """Return what features.json would hold."""
    choice = Choice("contribution", "branch", threshold=0.2, active_rate=0.1, least=RAISED)
    counts = Counts(controls, controls, 2)
    scores = scores_of(world, benchmark)
    return feature_sets(scores, TASKS, np.ones(FEATURES, dtype=bool), choice, counts, world.seed)


def run_arms(
    world: World, name: str, edited: EditedModel, chosen: dict, arms: list
) -> list[Result]:
    """Run some arms on one model."""
    editor = Editor(world.crosscoder, MODELS.index(name), "branch")
    direction = (world.models["rl"].table - world.models["base"].table).mean(dim=0)
    steering = dict.fromkeys(chosen["protocol"], direction)
    runner = ArmRunner(edited, editor, chosen, TASKS, steering=steering, seed=world.seed)
    return list(runner.run(arms))


def run_of(name: str, edited: EditedModel, results: list[Result], replicate: int = 0) -> Run:
    """Return the outcomes of arms as the statistics read them."""
    return Run(
        replicate,
        name,
        "rl" if name == "base" else "base",
        [result.record() for result in results],
        **arrays_of(results, edited.unedited),
    )


def primary_runs(worlds: Sequence[World], controls: int) -> tuple[dict[str, list[Run]], Benchmark]:
    """Return the primary arms of base and RL, for each of `seeds_of` a world or some of them."""
    models = {name: edited_model(worlds[0], name) for name in ("base", "rl")}
    benchmark = benchmark_of(worlds[0], models)
    runs: dict[str, list[Run]] = {name: [] for name in models}
    for replicate, world in enumerate(worlds):
        chosen = chosen_of(world, benchmark, controls)
        for name, dose in (("base", AMPLIFY), ("rl", ZERO)):
            arms = list(with_controls(chosen["protocol"], "protocol", PRIMARY, dose, controls))
            results = run_arms(world, name, models[name], chosen, arms)
            runs[name].append(run_of(name, models[name], results, replicate))
    return runs, benchmark


EXTENT = Extent(matched=9, exploratory=4, curves=2, multiply=[0.0, 2.0], clamp=[0.5], full=True)
