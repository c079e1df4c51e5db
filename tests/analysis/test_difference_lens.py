"""The activation-difference lens on planted differences, and its null where there is none."""

import numpy as np
import pytest
import torch
from jaxtyping import Float
from tiny_models import LETTERS, letter_tokenizer, tiny_network
from transformers import PreTrainedModel

from crosslens.analysis.difference_lens import (
    DRAWS,
    FIRST,
    PLACES,
    DifferenceSums,
    Means,
    by_chance,
    difference_lens,
)
from crosslens.models.decoder import body_of, modules_after_layers

TEXTS, LENGTH, WIDTH = 40, 9, 16
ALL = PLACES.index("all")


@pytest.fixture
def network() -> PreTrainedModel:
    """Return a network whose unembedding has rows of length 1, and whose final norm has a gain."""
    network = tiny_network("llama", seed=1)
    (norm,) = modules_after_layers(body_of(network)).values()
    with torch.no_grad():
        weight = network.get_output_embeddings().weight
        weight.copy_(torch.nn.functional.normalize(torch.randn(weight.shape), dim=1))
        norm.weight.copy_(torch.linspace(0.5, 2, WIDTH))
    return network


def streams(seed: int, models: int = 2) -> Float[torch.Tensor, "n t m d"]:
    """Return the same random activations for every model."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(TEXTS, LENGTH, 1, WIDTH, generator=generator)
    return base.expand(-1, -1, models, -1).clone()


def means(x: Float[torch.Tensor, "n t m d"], *, first: int = 0, sources: int = 1) -> Means:
    sums = DifferenceSums(torch.ones(x.shape[2]), sources, WIDTH)
    where = torch.ones(x.shape[:2], dtype=torch.bool)
    where[:, 0] = False
    sums.add(x, where, first, np.arange(len(x)) % sources)
    return sums.means()


def test_a_planted_row_of_the_unembedding_is_read_as_its_token(network: PreTrainedModel) -> None:
    """At position 2 the difference is what the norm's gain makes the unembedding's row of q."""
    tokenizer, x = letter_tokenizer(), streams(0, models=3)
    q = tokenizer.convert_tokens_to_ids("q")
    row = network.get_output_embeddings().weight[q].detach()
    x[:, 2, 2] += row / torch.linspace(0.5, 2, WIDTH)
    found = difference_lens(network, means(x), 2, ["texts"], tokenizer)
    assert [record["place"] for record in found] == list(PLACES)
    for record in found:
        if record["place"] in ("2", "all"):  # one of the eight trained positions
            assert record["raised"][0] == "q"
            assert record["norm"] > 0
        else:
            assert record["norm"] == 0
    planted, everywhere = found[2], found[ALL]
    assert planted["raised_by"][0] > planted["logit_by_chance"] > 0
    assert planted["raised_by"][0] == pytest.approx(8 * everywhere["raised_by"][0], rel=1e-3)
    assert planted["norm"] > planted["norm_by_chance"]
    assert planted["norm_by_chance"] < 0.5 * planted["norm"]
    assert difference_lens(network, means(x), 1, ["texts"], tokenizer)[2]["norm"] == 0


def test_without_a_difference_nothing_is_beyond_chance(network: PreTrainedModel) -> None:
    for record in difference_lens(network, means(streams(0)), 1, ["texts"], letter_tokenizer()):
        assert record["norm"] == record["norm_by_chance"] == 0
        assert max(map(abs, record["raised_by"])) == record["logit_by_chance"] == 0


def test_differences_that_cancel_are_beyond_chance_in_one_study_of_twenty(
    network: PreTrainedModel,
) -> None:
    """Each text has a difference of its own, the same at all of its positions."""
    generator, beyond = torch.Generator().manual_seed(0), []
    for study in range(100):
        x = streams(study)
        x[:, :, 1] += torch.randn(TEXTS, 1, WIDTH, generator=generator)
        found = means(x, first=1000 * study)
        norm, _ = by_chance(network, found, 0)
        beyond.append(bool(found.difference[0, ALL, 0].norm() > norm[0, ALL]))
    assert 1 <= sum(beyond) <= 12  # 99% of a binomial distribution of 5%


def test_sums_are_plain_means_whatever_the_order_and_the_batches() -> None:
    x = streams(0, models=3)
    x[:, :, 1:] += torch.randn(x[:, :, 1:].shape, generator=torch.Generator().manual_seed(1))
    scales = torch.tensor([1.0, 2.0, 0.5])
    where = torch.rand(x.shape[:2], generator=torch.Generator().manual_seed(2)) > 0.3
    source = np.arange(TEXTS) % 2
    whole, parts = (DifferenceSums(scales, 2, WIDTH) for _ in range(2))
    scaled = x * scales[:, None]
    whole.add(scaled, where, 0, source)
    for start in (20, 0, 10, 30):
        part = slice(start, start + 10)
        parts.add(scaled[part], where[part], start, source[part])
    found = whole.means()
    for one, other in zip(found, parts.means(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    difference = x[:, :, 1:] - x[:, :, :1]
    for s in range(2):
        own = torch.from_numpy(source == s)
        expected = difference[own][:, :FIRST].mean(dim=0)
        assert torch.allclose(found.difference[s, :FIRST], expected, atol=1e-6)
        everywhere = difference[own][where[own]].mean(dim=0)
        assert torch.allclose(found.difference[s, ALL], everywhere, atol=1e-6)
        norm = x[own][:, :, 0][where[own]].norm(dim=-1).mean()
        assert found.norm[s, ALL] == pytest.approx(norm.item(), rel=1e-5)
    assert len(found.swapped) == DRAWS


def test_base_shows_its_own_mean(network: PreTrainedModel) -> None:
    tokenizer, x = letter_tokenizer(), streams(0)
    z = tokenizer.convert_tokens_to_ids(LETTERS[-1])
    x += 5 * network.get_output_embeddings().weight[z].detach() / torch.linspace(0.5, 2, WIDTH)
    found = difference_lens(network, means(x), 0, ["texts"], tokenizer)
    assert {record["raised"][0] for record in found} == {"z"}
    assert {record["norm_by_chance"] for record in found} == {None}
    assert all(0 < record["norm"] < 1 for record in found)


def test_a_source_without_tokens_has_no_norm(network: PreTrainedModel) -> None:
    sums = DifferenceSums(torch.ones(2), 2, WIDTH)
    x = streams(0)
    sums.add(x, torch.zeros(x.shape[:2], dtype=torch.bool), 0, np.zeros(TEXTS, int))
    found = difference_lens(network, sums.means(), 1, ["a", "b"], letter_tokenizer())
    assert [record["norm"] is None for record in found] == [*[False] * FIRST, *[True] * (FIRST + 2)]
