"""The reconstruction in place of the stream: losses by the network itself, and planted cases."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_network

from crosslens.analysis.significance import t_interval
from crosslens.analysis.splice import CODES, SpliceSums, interval, measure_splice, reconstruction
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.split_model import SplitModel

LAYER, SKIP = 2, 1
NAMES = ["base", "sft-5", "rl-5"]


def models(count: int = 3) -> list[SplitModel]:
    return [SplitModel(tiny_network("qwen3", seed=i), LAYER) for i in range(count)]


def texts(n: int = 6, t: int = 9) -> np.ndarray:
    """Return texts that the first model finds likely, so that its loss can be lost."""
    network = tiny_network("qwen3", seed=0)
    ids = torch.from_numpy(np.random.default_rng(0).integers(3, 29, (n, 1)))
    for _ in range(t - 1):
        with torch.inference_mode():
            ids = torch.cat([ids, network(input_ids=ids).logits[:, -1:].argmax(-1)], dim=1)
    return ids.numpy()


def perfect(count: int, d: int = 16) -> Crosscoder:
    """Return a crosscoder that copies every model's states: a feature for each sign and axis."""
    crosscoder = Crosscoder(count, d, 2 * d * count, metadata={"models": NAMES[:count]})
    with torch.no_grad():
        crosscoder.W_enc.zero_()
        crosscoder.W_dec.zero_()
        for i in range(count):
            first = 2 * d * i
            both = torch.cat([torch.eye(d), -torch.eye(d)])
            crosscoder.W_dec[i, first : first + 2 * d] = both
            crosscoder.W_enc[i, :, first : first + 2 * d] = both.T
        crosscoder.scales.copy_(torch.linspace(0.5, 2, count))
    return crosscoder


def measured(crosscoder: Crosscoder, split: list[SplitModel], **options: float):
    settings = {"batch_size": 4, "skip_positions": SKIP, "sink_threshold": 1e9} | options
    table = measure_splice(crosscoder, split.__getitem__, texts(), **settings)
    return table.set_index(["model", "spliced"])


def test_a_perfect_reconstruction_recovers_everything() -> None:
    found = measured(perfect(3), models())
    for name in NAMES:
        row = found.loc[name, "joint"]
        none = found.loc[name, "none"]
        assert row["cross_entropy"] == pytest.approx(none["cross_entropy"], abs=1e-4)
        assert row["kl"] == pytest.approx(0, abs=1e-4)
        assert row["fve"] == pytest.approx(1, abs=1e-5)
    assert found.loc["base", "joint"]["recovered_zero"] == pytest.approx(1, abs=1e-3)
    assert found.loc["base", "joint"]["recovered_mean"] == pytest.approx(1, abs=1e-3)


def test_without_a_splice_the_loss_is_the_networks_own() -> None:
    found = measured(perfect(3), models())
    ids = torch.from_numpy(texts())
    network = tiny_network("qwen3", seed=1)
    with torch.no_grad():
        log_p = network(input_ids=ids).logits.log_softmax(-1)[:, SKIP:-1]
    expected = -log_p.gather(2, ids[:, SKIP + 1 :, None]).mean()
    assert found.loc[("sft-5", "none"), "cross_entropy"] == pytest.approx(expected.item(), abs=1e-4)


def test_kl_is_that_of_the_two_predictions() -> None:
    """The zero splice by hand: the network's upper layer on a stream of zeros."""
    found = measured(perfect(1), models(1))
    ids = torch.from_numpy(texts())
    split = models(1)[0]
    with torch.inference_mode():
        lower = split.lower_states(ids)
        stream = lower.clone()
        stream[:, SKIP:] = 0
        own, zero = (
            split.network.lm_head(split.final_states(h)).log_softmax(-1)[:, SKIP:-1]
            for h in (lower, stream)
        )
    kl = (own.exp() * (own - zero)).sum(-1).mean()
    assert found.loc[("base", "zero"), "kl"] == pytest.approx(kl.item(), abs=1e-4)
    same = (own.argmax(-1) == zero.argmax(-1)).float().mean()
    assert found.loc[("base", "zero"), "agreement"] == pytest.approx(same.item(), abs=1e-6)
    assert same < 1 == found.loc[("base", "none"), "agreement"]
    assert found.loc[("base", "zero"), "recovered_zero"] == pytest.approx(0, abs=1e-6)
    assert found.loc[("base", "mean"), "recovered_mean"] == pytest.approx(0, abs=1e-6)


def test_a_crosscoder_without_features_is_the_zero_splice() -> None:
    empty = perfect(2)
    with torch.no_grad():
        empty.b_enc.fill_(-1e6)
    found = measured(empty, models(2))
    for code in CODES:
        ours, zero = found.loc[("base", code)], found.loc[("base", "zero")]
        assert ours["cross_entropy"] == pytest.approx(zero["cross_entropy"], abs=1e-5)


def test_codes_differ_where_features_are_shared() -> None:
    """Feature 0 is read from either model and written to both: a branch sees its own half."""
    crosscoder = Crosscoder(2, 16, 1, metadata={"models": NAMES[:2]})
    with torch.no_grad():
        crosscoder.W_enc.zero_()
        crosscoder.W_enc[:, 0, 0] = 0.5
        crosscoder.W_dec.zero_()
        crosscoder.W_dec[:, 0, 0] = 1
    states = torch.zeros(1, 2, 16)
    states[0, 0, 0], states[0, 1, 0] = 4, 2
    of = {c: reconstruction(crosscoder, states, 0, c)[0, 0].item() for c in CODES}
    assert of == {"joint": 3, "branch": 2, "swap": 4}


def test_sinks_stay_as_they_are() -> None:
    """With a threshold below every norm, nothing is spliced, and no splice costs anything."""
    found = measured(perfect(2), models(2), sink_threshold=1e-9)
    assert found["kl"].tolist() == pytest.approx([0] * len(found), abs=1e-6)


def test_neither_batches_nor_their_order_matter() -> None:
    split = models(2)
    crosscoder = Crosscoder(2, 16, 40, seed=3, metadata={"models": NAMES[:2]})
    one = measured(crosscoder, split, batch_size=6)
    many = measured(crosscoder, split, batch_size=1)
    assert np.allclose(one.to_numpy(float), many.to_numpy(float), atol=1e-4, equal_nan=True)


def table_of(losses: dict[str, list[float]]):
    """Return the table of texts with these cross-entropies by splice; all codes are alike."""
    sums = SpliceSums(perfect(1), 0, torch.zeros(16))
    for name, found in sums.losses.items():
        for cross_entropy in losses.get(name, losses["joint"]):
            found.append(np.array([[cross_entropy, 0.0, 1.0]]))
    return sums.table().set_index("spliced")


def test_recovered_losses_of_worked_numbers() -> None:
    found = table_of({"none": [2.0], "joint": [2.3], "zero": [12.0], "mean": [6.0]}).loc["joint"]
    assert found["change"] == pytest.approx(0.3)
    assert (found["recovered_zero"], found["recovered_mean"]) == pytest.approx((0.97, 0.925))
    assert np.isnan(found["change_low"]), "one text says nothing of others"


def test_losses_are_averaged_before_their_ratio() -> None:
    """The mean of the two ratios would be 0.84."""
    losses = {"none": [2.0, 1.0], "joint": [2.2, 1.6], "zero": [12.0, 3.0], "mean": [6.0, 3.0]}
    assert table_of(losses).loc["joint", "recovered_zero"] == pytest.approx(0.933, abs=5e-4)


def test_an_interval_is_over_texts() -> None:
    """For many texts it is the t interval; it is of the change, not of the cross-entropy."""
    rng = np.random.default_rng(0)
    own, change = rng.normal(2, 1, 300), rng.normal(0.1, 0.05, 300)
    assert interval(change) == pytest.approx(t_interval(change.tolist()), abs=1e-3)
    losses = {"none": own, "joint": own + change, "zero": own + 9, "mean": own + 4}
    found = table_of({name: values.tolist() for name, values in losses.items()})
    assert (found.loc["zero", "change_low"], found.loc["none", "change_high"]) == (9, 0)
    assert 0.09 < found.loc["joint", "change_low"] < found.loc["joint", "change_high"] < 0.11
