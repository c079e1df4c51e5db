"""What a pass over held-out rows measures, by worked numbers."""

import pytest
import torch
from tiny_shards import make_shard

from crosslens.activations.shard_reader import ShardReader
from crosslens.crosscoder.heldout import Entries, evaluate, feature_sums, reconstruct
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.errors import InputError

MODELS = ["base", "rl-5"]
X = torch.tensor([[1.0, 0.0], [3.0, 0.0], [1.0, 2.0], [3.0, 2.0]])


def test_held_out_quality_of_worked_numbers(tmp_path):
    """A crosscoder whose only decoder is its bias: the mean explains nothing, an offset less."""
    paths = [make_shard(tmp_path / m / "shard-heldout.h5", X, shard="heldout") for m in MODELS]
    crosscoder = Crosscoder(2, 2, 3, metadata={"models": MODELS})
    with torch.no_grad():
        crosscoder.W_dec.zero_()
        crosscoder.W_enc.zero_()
        crosscoder.b_enc.copy_(torch.tensor([1.0, 0.0, -1.0]))
        crosscoder.b_dec.copy_(torch.tensor([[2.0, 1.0], [3.0, 1.0]]))
    with ShardReader(paths) as reader:
        quality = evaluate(crosscoder, reader, 3, 2.0)
    assert quality.fve == pytest.approx({"base": 0.0, "rl-5": -0.5})
    assert (quality.l0, quality.rows) == (1.0, 4)
    assert quality.loss == pytest.approx(2 + 3)
    assert quality.rate.tolist() == [1.0, 0.0, 0.0]


def test_the_explained_difference_of_worked_numbers(tmp_path):
    """The second model is the first but for 0 or 2 along the first axis, of which the decoder's
    one feature writes 1: half of the distance. The second model's scale is 2."""
    tuned = X + torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    paths = [
        make_shard(tmp_path / m / "shard-heldout.h5", x, shard="heldout")
        for m, x in zip(MODELS, (X, tuned), strict=True)
    ]
    crosscoder = Crosscoder(2, 2, 1, metadata={"models": MODELS})
    with torch.no_grad():
        crosscoder.scales.copy_(torch.tensor([1.0, 2.0]))
        crosscoder.W_enc.zero_()
        crosscoder.W_enc[1, 1] = 0.25  # 1 on the rows whose second entry, scaled, is 4
        crosscoder.W_dec.zero_()
        crosscoder.W_dec[1, 0, 0] = 2.0
    with ShardReader(paths) as reader:
        quality = evaluate(crosscoder, reader, 3, 2.0)
    assert quality.fve_difference == pytest.approx({"rl-5": 1 - 2 / 4})


def test_entries_are_the_nonzeros_by_feature():
    f = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0], [4.0, 5.0, 0.0]])
    entries = Entries.of(f)
    assert entries.features.tolist() == [0, 0, 1, 1, 2]
    assert entries.rows.tolist() == [1, 2, 0, 2, 0]
    assert entries.values.tolist() == [3, 4, 1, 5, 2]
    assert entries.by_row().values.tolist() == [1, 2, 3, 4, 5]
    sums = feature_sums(entries, entries.values[:, None], 4)
    assert sums.flatten().tolist() == [7, 6, 2, 0]


@pytest.mark.parametrize("bias", [-9.0, -1.0])
def test_a_reconstruction_from_the_nonzeros_is_the_decoders(bias):
    crosscoder = Crosscoder(3, 5, 8, decoder_norm=1.0)
    with torch.no_grad():
        crosscoder.b_enc += bias
        crosscoder.b_dec += 1
    f = crosscoder.encode(2 * torch.randn(7, 3, 5))
    found = reconstruct(crosscoder, Entries.of(f), 7)
    torch.testing.assert_close(found, crosscoder.decode(f))


def test_a_shard_without_a_kept_row_is_refused(tmp_path):
    path = make_shard(tmp_path / "base" / "shard-heldout.h5", X, shard="heldout", mask=[0] * 4)
    with (
        ShardReader([path]) as reader,
        pytest.raises(InputError, match="every token of the held-out shard is masked"),
    ):
        evaluate(Crosscoder(1, 2, 3, metadata={"models": ["base"]}), reader, 3, 2.0)
