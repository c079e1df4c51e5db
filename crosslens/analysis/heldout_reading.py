"""One pass of a crosscoder's models over the held-out texts: where features fire, and means.

Belongs here: what needs the models' activations on running text, for feature cards.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer

from crosslens.activations.extract import load_truncated
from crosslens.analysis.context_pool import WEAKEST, ContextPool, candidates, octaves
from crosslens.analysis.contexts import read_rows, trained_positions
from crosslens.analysis.difference_lens import DifferenceSums
from crosslens.config.sections import ActivationsConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.data.corpus import HELDOUT, heldout_sources, read_shard
from crosslens.io.progress import track
from crosslens.models.batching import batches

STRONGEST_OCTAVE = 20  # holds all stronger ones


class Reading(NamedTuple):
    """What one pass over the held-out texts finds of some features, and of the models' means."""

    sources: Sequence[str]
    pool: ContextPool
    histogram: Integer[np.ndarray, "k o"]  # firings by octave, from WEAKEST to STRONGEST_OCTAVE
    firings: Integer[np.ndarray, "k s"]  # by source
    tokens: Integer[np.ndarray, " s"]  # read, by source
    differences: DifferenceSums


@torch.inference_mode()
def read_texts(
    crosscoder: Crosscoder,
    networks: Sequence[torch.nn.Module],
    rows: Iterator[tuple[int, Integer[np.ndarray, "n t"], Integer[np.ndarray, " n"]]],
    sources: Sequence[str],
    skip_positions: int,
    sink_threshold: float,
) -> Reading:
    """Read texts, and gather contexts and counts of all features of a crosscoder, and means.

    `crosscoder` is restricted to the features of the cards. `rows` yields the number of a batch's
    first sequence, its token ids, and the source of each sequence, an index of `sources`. Contexts
    and counts leave out positions that crosscoders are not trained on (`trained_positions`).
    """
    _, d_model, k = crosscoder.W_enc.shape
    reading = Reading(
        sources,
        ContextPool(),
        np.zeros((k, STRONGEST_OCTAVE - WEAKEST + 1), np.int64),
        np.zeros((k, len(sources)), np.int64),
        np.zeros(len(sources), np.int64),
        DifferenceSums(crosscoder.scales, len(sources), d_model),
    )
    for first, ids, source in rows:
        x = read_rows(crosscoder, networks, ids)
        where = trained_positions(x, skip_positions=skip_positions, sink_threshold=sink_threshold)
        reading.differences.add(x, where, first, source)
        pre, codes = encode(crosscoder, x)
        pre[~where.numpy()] = -np.inf
        codes[~where.numpy()] = 0
        reading.pool.add(candidates(pre, codes, ids, first))
        f = codes[:, :, 0]
        for s in range(len(sources)):
            reading.firings[:, s] += (f[source == s] > 0).sum(axis=(0, 1))
            reading.tokens[s] += int(where.numpy()[source == s].sum())
        feature = np.broadcast_to(np.arange(k), f.shape)[f > 0]
        octave = np.minimum(octaves(f[f > 0]), STRONGEST_OCTAVE) - WEAKEST
        np.add.at(reading.histogram, (feature, octave), 1)
    return reading


def encode(
    crosscoder: Crosscoder, x: Float[torch.Tensor, "n t m d_model"]
) -> tuple[Float[np.ndarray, "n t k"], Float[np.ndarray, "n t r k"]]:
    """Return pre-activations, and activations by each readout: joint, then each model's branch."""
    n, t, models, _ = x.shape
    pre = crosscoder.pre_activations(x.flatten(0, 1)).view(n, t, -1)
    joint = crosscoder.above_threshold(torch.relu(pre))
    branches = [crosscoder.encode_branch(x[:, :, i], i) for i in range(models)]
    return pre.numpy(), torch.stack([joint, *branches], dim=2).numpy()


def batches_of(
    rows: Integer[np.ndarray, "n t"], source: Integer[np.ndarray, " n"], size: int
) -> Iterator[tuple[int, Integer[np.ndarray, "b t"], Integer[np.ndarray, " b"]]]:
    """Yield what `read_texts` takes of rows and their sources."""
    for at in batches(np.arange(len(rows)), size):
        yield int(at[0]), rows[at], source[at]


def heldout_batches(
    corpus: Path, size: int
) -> list[tuple[int, Integer[np.ndarray, "b t"], Integer[np.ndarray, " b"]]]:
    """Read the held-out texts of a corpus in batches, as `read_texts` takes them."""
    rows, source = read_shard(corpus, HELDOUT)[0], heldout_sources(corpus)[0]
    return list(batches_of(rows, source, size))


def read_heldout_texts(
    crosscoder: Crosscoder, models: Sequence[Path], corpus: Path, settings: ActivationsConfig
) -> Reading:
    """Read all held-out texts with a crosscoder's models, as `read_texts` does.

    `models` are its models' directories, in its order. Their lower halves are in memory together.
    """
    return read_texts(
        crosscoder,
        [load_truncated(path, crosscoder.metadata["layer"])[0] for path in models],
        track(heldout_batches(corpus, settings.batch_size), "texts", unit="batches"),
        heldout_sources(corpus)[1],
        settings.skip_positions,
        settings.sink_threshold,
    )
