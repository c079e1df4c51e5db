"""Score continuations of one prompt as a tree of tokens, like lm-eval's separate sequences.

The prompt is computed once. Each continuation is a branch that attends to the prompt and to itself.
Logits are computed only where a continuation is predicted, a few at a time. Log-probabilities equal
those of separate sequences up to rounding.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from crosslens.models.decoder import body_of
from crosslens.models.output_head import next_token_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MAX_LOGITS = 1 << 24  # logits computed at once: 64 MB in float32, and three copies for a moment
PROMPT, PADDING = -1, -2  # branches of nodes that belong to no continuation


@runtime_checkable
class TokenTree(Protocol):
    """A tree of tokens; continuation j is read from the sequence prompt + branches[j].

    The predictions at its nodes starts[j], starts[j] + 1, ... are for targets[j].
    """

    @property
    def prompt(self) -> list[int]:
        """Return the tokens that all sequences begin with."""

    @property
    def branches(self) -> list[list[int]]:
        """Return what follows the prompt in each sequence."""

    @property
    def starts(self) -> list[int]:
        """Return the first node of each continuation's predictions."""

    @property
    def targets(self) -> list[list[int]]:
        """Return the tokens of each continuation."""


class Tree(NamedTuple):
    """A prompt and its continuations, in token ids."""

    prompt: list[int]
    branches: list[list[int]]
    starts: list[int]
    targets: list[list[int]]


def make_tree(pairs: Sequence[tuple[list[int], list[int]]], max_length: int) -> Tree:
    """Return the tree of some (context, continuation) pairs of token ids.

    As lm-eval does, leave out the last token, which predicts nothing, and cut sequences of more
    than `max_length` tokens on the left.
    """
    sequences = [(context + choice)[-(max_length + 1) :][:-1] for context, choice in pairs]
    targets = [choice for _, choice in pairs]
    prompt, branches = as_tree(sequences)
    starts = [len(s) - len(t) for s, t in zip(sequences, targets, strict=True)]
    return Tree(prompt, branches, starts, targets)


def as_tree(sequences: Sequence[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Return the longest common prefix of sequences, and what follows it in each."""
    shared = 0
    for tokens in zip(*sequences, strict=False):
        if len(set(tokens)) > 1:
            break
        shared += 1
    return sequences[0][:shared], [sequence[shared:] for sequence in sequences]


def tree_size(tree: TokenTree) -> int:
    """Return the number of nodes: tokens that a network computes."""
    return len(tree.prompt) + sum(map(len, tree.branches))


def largest_first(trees: Sequence[TokenTree]) -> list[int]:
    """Return the indices of trees, the largest first: little padding, and memory fails early."""
    return sorted(range(len(trees)), key=lambda i: -tree_size(trees[i]))


class TreeBatch(NamedTuple):
    """Trees padded to the size of the largest.

    branch: PROMPT, the number of the continuation, or PADDING.
    nodes: where continuations are predicted, over the flattened batch, each once, ascending.
    For every token of every continuation: `rows`, its index in `nodes`; `targets`; and `segments`,
    tree * n_continuations + continuation.
    """

    ids: Int[torch.Tensor, "b t"]
    positions: Int[torch.Tensor, "b t"]
    branch: Int[torch.Tensor, "b t"]
    nodes: Int[torch.Tensor, " n"]
    rows: Int[torch.Tensor, " p"]
    targets: Int[torch.Tensor, " p"]
    segments: Int[torch.Tensor, " p"]
    n_continuations: int

    def mask(self, dtype: torch.dtype) -> Float[torch.Tensor, "b 1 t t"] | None:
        """Return 0 where a node may attend to another, and the lowest number elsewhere.

        None if every row is one sequence, as padding on the right is never attended to.
        """
        if not (self.branch >= 0).any():
            return None
        seen, seeing = self.branch[:, None, :], self.branch[:, :, None]
        order = torch.arange(self.ids.shape[1], device=self.ids.device)
        allowed = ((seen == PROMPT) | (seen == seeing)) & (order[:, None] >= order)
        return torch.where(allowed, 0.0, torch.finfo(dtype).min).to(dtype)[:, None]


def make_batch(trees: Sequence[TokenTree], device: torch.device | str = "cpu") -> TreeBatch:
    """Write each tree into one row: the prompt, then one branch after the other."""
    length = max(map(tree_size, trees))
    ids, positions, branch = (np.zeros((len(trees), length), dtype=np.int64) for _ in range(3))
    branch[:] = PADDING
    n_continuations = max(len(tree.branches) for tree in trees)
    picks: list[tuple[int, int, int]] = []
    for row, tree in enumerate(trees):
        size = end = len(tree.prompt)
        ids[row, :size], branch[row, :size] = tree.prompt, PROMPT
        positions[row, :size] = np.arange(size)
        for choice, tokens in enumerate(tree.branches):
            here = slice(end, end + len(tokens))
            ids[row, here], branch[row, here] = tokens, choice
            positions[row, here] = size + np.arange(len(tokens))
            for i, target in enumerate(tree.targets[choice], tree.starts[choice]):
                node = i if i < size else end + i - size
                picks.append((row * length + node, target, row * n_continuations + choice))
            end += len(tokens)
    at, *columns = np.array(picks, dtype=np.int64).T
    arrays = (ids, positions, branch, *np.unique(at, return_inverse=True), *columns)
    tensors = [torch.from_numpy(a).to(device) for a in arrays]
    return TreeBatch._make([*tensors, n_continuations])


class Scores(NamedTuple):
    """Each continuation's log-probability, in nats, and whether its tokens are the most likely.

    `log_probs` are in the dtype of the logits, as in lm-eval; this decides near ties. `exact` are
    in float32. For a continuation that a tree does not have, they are -inf, -inf and False.
    """

    log_probs: Float[torch.Tensor, "b m"]
    exact: Float[torch.Tensor, "b m"]
    greedy: Bool[torch.Tensor, "b m"]


@torch.inference_mode()
def hidden_states(network: "PreTrainedModel", batch: TreeBatch) -> Float[torch.Tensor, "b t d"]:
    """Return the final hidden states, after the last norm, of trees in a causal language model."""
    mask = batch.mask(network.dtype)
    tree = {} if mask is None else {"attention_mask": mask, "position_ids": batch.positions}
    return body_of(network)(input_ids=batch.ids, use_cache=False, **tree).last_hidden_state


@torch.inference_mode()
def score(
    network: "PreTrainedModel", batch: TreeBatch, hidden: Float[torch.Tensor, "b t d"]
) -> Scores:
    """Score all continuations of a batch from the final hidden states."""
    picked = hidden.flatten(0, 1)[batch.nodes]
    own, exact = torch.empty_like(batch.rows, dtype=torch.float32).repeat(2, 1)
    greedy = torch.empty_like(batch.rows, dtype=torch.bool)
    size = max(1, MAX_LOGITS // network.config.get_text_config().vocab_size)
    for start in range(0, len(picked), size):
        logits = next_token_logits(network, picked[start : start + size])
        here = (batch.rows >= start) & (batch.rows < start + size)
        rows, targets = batch.rows[here] - start, batch.targets[here]
        greedy[here] = logits.argmax(-1)[rows] == targets
        own[here] = logits.log_softmax(-1)[rows, targets].float()
        same = logits.dtype == torch.float32
        exact[here] = own[here] if same else logits.float().log_softmax(-1)[rows, targets]
    shape = (len(batch.ids), batch.n_continuations)
    wrong = sum_segments(batch, (~greedy).float())
    return Scores(
        sum_segments(batch, own).to(hidden.dtype).float().view(shape),
        sum_segments(batch, exact).view(shape),
        (wrong == 0).view(shape),
    )


def sum_segments(
    batch: TreeBatch, values: Float[torch.Tensor, " p"]
) -> Float[torch.Tensor, " segments"]:
    """Return the sum over each continuation's tokens, -inf for one that does not exist."""
    count = len(batch.ids) * batch.n_continuations
    total = values.new_zeros(count).index_add(0, batch.segments, values)
    absent = torch.ones(count, dtype=torch.bool, device=values.device)
    absent[batch.segments] = False
    return total.masked_fill(absent, -torch.inf)
