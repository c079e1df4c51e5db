"""The calibrated threshold is the exact quantile, wherever it lies."""

import pytest
import torch
from tiny_shards import make_shard

from crosslens.activations.shard_reader import ShardReader
from crosslens.crosscoder.model import Crosscoder
from crosslens.crosscoder.threshold import calibrate

ROWS = 500


@pytest.fixture
def rows(tmp_path):
    """Rows whose first ones are a thousand times smaller than the last: the first batch's guess is
    wrong."""
    x = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(0))
    x *= torch.logspace(-3, 0, ROWS)[:, None]
    with ShardReader([make_shard(tmp_path / "base" / "shard-heldout.h5", x)]) as reader:
        yield reader


def crosscoder_of(reader, **metadata):
    crosscoder = Crosscoder(1, 4, 30, decoder_norm=1.0, metadata=metadata)
    crosscoder.scales.copy_(reader.scales)
    return crosscoder


@pytest.mark.parametrize("l0", [0.002, 0.1, 3.0, 12.0])
def test_so_many_features_fire_as_are_wanted(rows, l0):
    crosscoder = crosscoder_of(rows)
    x = torch.cat(list(rows.batches(ROWS, drop_last=True))) * crosscoder.scales[:, None]
    crosscoder.metadata["threshold"] = theta = calibrate(crosscoder, rows, 64, l0)
    f = crosscoder.encode(x)
    assert (f > 0).sum().item() == round(l0 * ROWS)
    v = (f * crosscoder.decoder_norms())[f > 0]
    assert v.min() > theta
    assert torch.nextafter(torch.tensor(theta), torch.tensor(1e9)) == v.min(), "the closest float"


def test_rescaling_a_feature_changes_no_code(rows):
    crosscoder = crosscoder_of(rows)
    x = torch.randn(20, 1, 4)
    crosscoder.metadata["threshold"] = calibrate(crosscoder, rows, 64, 3.0)
    before = crosscoder.encode(x)
    with torch.no_grad():
        crosscoder.W_enc[:, :, 4] *= 16
        crosscoder.W_dec[:, 4] /= 16
    after = crosscoder.encode(x)
    after[:, 4] /= 16
    assert torch.equal(after, before)
    assert torch.equal(crosscoder.encode_branch(x[:, 0], 0) > 0, after > 0)


def test_where_fewer_features_are_positive_all_of_them_fire(rows):
    crosscoder = crosscoder_of(rows)
    with torch.no_grad():
        crosscoder.b_enc -= 2
    assert calibrate(crosscoder, rows, 64, 20.0) == 0.0
