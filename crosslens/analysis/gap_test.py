"""The gap test: how much of a tuned model's gain remains when reconstructions replace the stream.

In base and in the tuned models, the residual stream after the layer is replaced by its
reconstruction, and all questions are answered again. The joint code sees all models, so base's
reconstruction may contain what RL has learned. The codes swap and branch see only the model's own
activations.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int

from crosslens.analysis.comparisons import clusters
from crosslens.analysis.contexts import not_sinks
from crosslens.analysis.hypotheses import NOT_SUPPORTED, SUPPORTED, UNDECIDED
from crosslens.analysis.outcomes import Benchmark
from crosslens.analysis.question_table import MODELS
from crosslens.analysis.significance import cluster_weights, ratio
from crosslens.analysis.splice import CODES, all_states, reconstruction
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.questions import Question, answer
from crosslens.evaluation.split_model import SplitModel
from crosslens.evaluation.token_trees import PADDING, TreeBatch, largest_first, make_batch
from crosslens.io.progress import track
from crosslens.models.batching import batches

ALL = "all"  # every question, besides single tasks, "tasks" and "held_out"
MOST = 0.5  # of the gain, which a reconstruction that keeps it keeps at least
ACCURACIES = ("base", "tuned", "base_spliced", "tuned_spliced")
COLUMNS = [
    *("model", "task", "code", "questions", "base", "tuned", "gain", "gain_low", "gain_high"),
    *("base_spliced", "tuned_spliced", "gain_spliced", "gain_spliced_low", "gain_spliced_high"),
    *("recovered", "recovered_low", "recovered_high", "verdict"),
]


def spliced_choices(
    crosscoder: Crosscoder,
    load: Callable[[int], SplitModel],
    questions: Sequence[Question],
    *,
    batch_size: int,
    skip_positions: int,
    sink_threshold: float,
) -> Int[np.ndarray, "n c q"]:
    """Return every model's choice in every question, by the code (CODES) that is decoded.

    `load` returns one of the crosscoder's models, split after its layer. Only one is in memory at a
    time: each is loaded first for its lower layers, and later for its upper layers. Positions
    that crosscoders are not trained on keep their own states.
    """
    groups = list(batches(largest_first(questions), batch_size))
    count, m = len(crosscoder.models), max(len(q.branches) for q in questions)
    lower = [question_states(load(i), questions, groups) for i in range(count)]
    choice = np.zeros((count, len(CODES), len(questions)), dtype=np.int8)

    def answer_all(i: int, model: SplitModel) -> None:
        shown = track(groups, f"questions, {crosscoder.models[i]} spliced", unit="batches")
        for at, group in enumerate(shown):
            batch = make_batch([questions[q] for q in group], model.device)
            states = all_states(crosscoder, lower, at)
            where = spliced_positions(crosscoder, states, batch, skip_positions, sink_threshold)
            for c, code in enumerate(CODES):
                stream = states[:, :, i].clone()
                stream[where] = reconstruction(crosscoder, states[where], i, code)
                answers = answer(model, batch, stream.to(lower[i][at].dtype), m)
                choice[i, c, group] = answers.choice

    for i in range(count):
        answer_all(i, load(i))
    return choice


def question_states(
    model: SplitModel, questions: Sequence[Question], groups: Sequence[list[int]]
) -> list[Float[torch.Tensor, "_ t d"]]:
    """Return the states after the layer of each batch, kept in the CPU's memory."""
    token_batches = (make_batch([questions[q] for q in group], model.device) for group in groups)
    return [model.states(batch).cpu() for batch in token_batches]


def spliced_positions(
    crosscoder: Crosscoder,
    states: Float[torch.Tensor, "b t n d"],
    batch: TreeBatch,
    skip_positions: int,
    sink_threshold: float,
) -> Bool[torch.Tensor, "b t"]:
    """Return the positions whose stream is replaced: those that crosscoders are trained on."""
    norms = (states * crosscoder.scales[:, None]).norm(dim=-1)
    inside = not_sinks(norms, states.shape[-1], sink_threshold).all(dim=-1)
    return inside & (batch.branch != PADDING) & (batch.positions >= skip_positions)


def gap_table(
    benchmark: Benchmark, choice: Int[np.ndarray, "n c q"], *, draws: int, seed: int
) -> pd.DataFrame:
    """Return one row for each tuned model, group of questions and code.

    `choice` is that of `spliced_choices`, its models being MODELS. Accuracies are in [0, 1], gains
    in points. `recovered` is the spliced gain as a fraction of the gain. Intervals are 95%, of a
    bootstrap over passages within tasks that draws the same questions for all models.
    """
    own = np.stack([benchmark.is_right(benchmark.answers[name]) for name in MODELS])
    spliced = benchmark.is_right(choice.reshape(-1, choice.shape[-1])).reshape(choice.shape)
    groups = {t: benchmark.among([t]) for t in (*benchmark.tasks, *benchmark.held_out)}
    groups |= benchmark.groups() | {ALL: np.ones(len(benchmark.task), dtype=bool)}
    rows = []
    for task, chosen in groups.items():
        if chosen.any():
            weights = question_weights(benchmark, chosen, draws, seed)
            right = own[:, chosen], spliced[:, :, chosen]
            rows += [{"task": task} | row for row in gap_rows(*right, weights)]
    return pd.DataFrame(rows, columns=COLUMNS)


def question_weights(
    benchmark: Benchmark, chosen: Bool[np.ndarray, " q"], draws: int, seed: int
) -> Float[np.ndarray, "draws chosen"]:
    """Return how often each draw contains each question; passages are drawn as clusters."""
    cluster, stratum = clusters(benchmark, chosen)
    return cluster_weights(cluster, stratum, draws, np.random.default_rng(seed))[:, cluster]


def gap_rows(
    own: Bool[np.ndarray, "n q"],
    spliced: Bool[np.ndarray, "n c q"],
    weights: Float[np.ndarray, "draws q"],
) -> Iterator[dict[str, object]]:
    """Yield the numbers of each tuned model and code on some questions."""
    for tuned in range(1, len(own)):
        for c, code in enumerate(CODES):
            right = np.stack([own[0], own[tuned], spliced[0, c], spliced[tuned, c]]).astype(float)
            values = right.mean(axis=1)
            drawn = weights @ right.T / weights.sum(axis=1, keepdims=True)
            yield {
                "model": MODELS[tuned],
                "code": code,
                "questions": right.shape[1],
                **dict(zip(ACCURACIES, values, strict=True)),
                **recovery(values, drawn),
            }


def recovery(
    values: Float[np.ndarray, "4"], drawn: Float[np.ndarray, "draws 4"]
) -> dict[str, object]:
    """Return both gains, the fraction that is recovered, and the verdict.

    If the interval of the gain itself is not above 0, there is nothing to recover. Draws without a
    gain have no fraction and are left out; they are at most 2.5%.
    """
    gain, gain_spliced = 100 * (values[1::2] - values[::2])
    gains = 100 * (drawn[:, 1::2] - drawn[:, ::2])
    (gain_low, spliced_low), (gain_high, spliced_high) = np.quantile(gains, [0.025, 0.975], axis=0)
    numbers = {
        "gain": gain,
        "gain_low": gain_low,
        "gain_high": gain_high,
        "gain_spliced": gain_spliced,
        "gain_spliced_low": spliced_low,
        "gain_spliced_high": spliced_high,
    }
    if gain_low <= 0:
        return numbers | {"verdict": UNDECIDED}
    low, high = np.quantile(ratio(*gains[gains[:, 0] > 0].T[::-1]), [0.025, 0.975])
    verdict = SUPPORTED if low > MOST else NOT_SUPPORTED if high < MOST else UNDECIDED
    fractions = {"recovered": gain_spliced / gain, "recovered_low": low, "recovered_high": high}
    return numbers | fractions | {"verdict": verdict}
