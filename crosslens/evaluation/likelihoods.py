"""Score lm-eval's log-likelihood requests as trees: all choices of a prompt in one row."""

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import torch

from crosslens.evaluation.token_trees import (
    Tree,
    hidden_states,
    largest_first,
    make_batch,
    make_tree,
    score,
    tree_size,
)
from crosslens.io.progress import log, track
from crosslens.models.batching import batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Request = tuple[tuple[str, str], list[int], list[int]]  # texts, context and continuation ids
TOLERANCE = {torch.float32: 1e-3}  # nats a token
ROUGH_TOLERANCE = 0.5  # of 16-bit types, whose logits are rounded to 1/8 and more
MAX_PROBED = 16  # requests that are compared


def make_trees(
    network: "PreTrainedModel", requests: list[Request], max_length: int
) -> tuple[list[list[int]], list[Tree]]:
    """Return groups of consecutive requests, by index, and the tree of each.

    Requests with one context share a tree. If a layer sees only a window of the sequence, each
    request has its own tree, because distances in a shared row differ from those in the text.
    """
    pairs = [request[1:] for request in requests]
    groups = [
        list(indices) for _, indices in groupby(range(len(requests)), lambda i: requests[i][0][0])
    ]
    trees = [make_tree([pairs[i] for i in group], max_length) for group in groups]
    window = getattr(network.config.get_text_config(), "sliding_window", None)
    if window and max(map(tree_size, trees), default=0) > window:
        groups = [[i] for i in range(len(requests))]
        trees = [make_tree([pair], max_length) for pair in pairs]
    return groups, trees


def log_likelihoods(
    network: "PreTrainedModel", requests: list[Request], *, max_length: int, batch_size: int
) -> Iterator[tuple[int, float, bool]]:
    """Yield each request's index, log-probability and whether its tokens are the most likely.

    A batch has `batch_size` trees of similar size; the largest come first, so that memory fails
    early.
    """
    groups, trees = make_trees(network, requests, max_length)
    order = list(batches(largest_first(trees), batch_size))
    for rows in track(order, "log-likelihoods", unit="batches"):
        batch = make_batch([trees[i] for i in rows], network.device)
        scores = score(network, batch, hidden_states(network, batch))
        log_probs, greedy = scores.log_probs.tolist(), scores.greedy.tolist()
        for row, tree in enumerate(rows):
            for choice, index in enumerate(groups[tree]):
                yield index, log_probs[row][choice], greedy[row][choice]


@torch.inference_mode()
def trees_agree(network: "PreTrainedModel", requests: list[Request], max_length: int) -> bool:
    """Return whether a network scores the first group's tree as it scores plain sequences.

    Not every architecture accepts a custom mask and positions; OPT and BLOOM do not.
    """
    groups, trees = make_trees(network, requests[:MAX_PROBED], max_length)
    batch = make_batch(trees[:1], network.device)
    try:
        scored = score(network, batch, hidden_states(network, batch)).exact[0].tolist()
    except Exception as error:  # whatever an architecture makes of unknown input
        log(f"{network.config.model_type}: choices do not share their prompt ({error})")
        return False
    for index, log_prob in zip(groups[0], scored, strict=True):
        context, choice = requests[index][1:]
        ids = torch.tensor([(context + choice)[-(max_length + 1) :]], device=network.device)
        plain = network(input_ids=ids[:, :-1]).logits[0, -len(choice) :].float().log_softmax(-1)
        expected = plain.gather(1, ids[0, -len(choice) :, None]).sum().item()
        if abs(log_prob - expected) > len(choice) * TOLERANCE.get(network.dtype, ROUGH_TOLERANCE):
            log(f"{network.config.model_type}: choices do not share their prompt (other logits)")
            return False
    return True
