"""Shard files and the reader that aligns them row by row."""

import h5py
import numpy as np
import pytest
import torch
from tiny_shards import make_shard

from crosslens.activations.shard_reader import ShardReader
from crosslens.io.errors import InputError

D = 4


def numbered(rows, start=0):
    """Activations whose first entry is the row's number."""
    x = torch.ones(rows, D)
    x[:, 0] = torch.arange(start, start + rows)
    return x


@pytest.fixture
def pair(tmp_path):
    """Two aligned shards of ten rows; row 2 is masked in one, row 5 in the other."""
    masks = [[int(i != gone) for i in range(10)] for gone in (2, 5)]
    return [
        make_shard(tmp_path / name / "shard-0.h5", numbered(10, start), mask=mask)
        for name, start, mask in (("base", 0, masks[0]), ("rl-1", 100, masks[1]))
    ]


def first_entries(batches):
    return [batch[:, :, 0].int().tolist() for batch in batches]


def test_shard_holds_contiguous_bfloat16_bits_with_scale_and_origin(tmp_path):
    path = make_shard(tmp_path / "base" / "shard-0.h5", torch.full((6, D), 1.5))
    with h5py.File(path) as file:
        stored = file["activations"]
        assert stored.dtype == np.uint16 and stored.chunks is None and stored.compression is None
        assert stored.attrs["dtype"] == "bfloat16"
        assert file.attrs["mean_norm"] == pytest.approx(3.0)  # sqrt(4 * 1.5^2)
        assert file.attrs["scale"] == pytest.approx(2 / 3)  # sqrt(4) / 3
        assert (file.attrs["variant"], file.attrs["layer"], file.attrs["corpus_hash"]) == (
            "base",
            1,
            "c",
        )
    with ShardReader([path]) as reader:
        assert (next(reader.batches(6)) == 1.5).all()


def test_row_masked_in_one_model_is_left_out_of_all(pair):
    with ShardReader(pair) as reader:
        assert (reader.rows, reader.kept, reader.d_model) == (10, 8, D)
        kept = [0, 1, 3, 4, 6, 7, 8, 9]
        assert first_entries(reader.batches(4)) == [
            [[i, 100 + i] for i in kept[:4]],
            [[i, 100 + i] for i in kept[4:]],
        ]


def test_pass_gives_full_batches_and_the_last_one_on_request(pair):
    with ShardReader(pair) as reader:
        assert [len(b) for b in reader.batches(3)] == [3, 3]
        assert [len(b) for b in reader.batches(3, drop_last=False)] == [3, 3, 2]


def test_later_passes_are_shuffled_by_the_seed(tmp_path):
    path = make_shard(tmp_path / "base" / "shard-0.h5", numbered(200))  # bfloat16 is exact to 256
    with ShardReader([path]) as reader:

        def passes(seed):
            stream = reader.endless(5, [seed])
            return [sum(first_entries(next(stream) for _ in range(40)), []) for _ in range(3)]

        first, second, third = passes(0)
        assert first == sorted(first) == sorted(second) == sorted(third)
        assert len({str(p) for p in (first, second, third, passes(1)[1])}) == 4
        assert passes(0) == [first, second, third]


def test_first_pass_out_of_file_order_has_the_same_rows_by_seed(tmp_path):
    """Check a permutation of all rows, another one for each seed; file order ignores the seed."""
    path = make_shard(tmp_path / "base" / "shard-0.h5", numbered(200))
    with ShardReader([path]) as reader:

        def first(seed, in_order):
            stream = reader.endless(5, [seed, 0], in_order=in_order)
            return np.ravel(first_entries(next(stream) for _ in range(40))).tolist()

        ordered = first(0, True)
        assert ordered == list(range(200)) == first(1, True)
        other = [first(seed, False) for seed in (1, 2)]
        assert sorted(other[0]) == sorted(other[1]) == ordered
        assert len({str(rows) for rows in (ordered, *other)}) == 3
        assert all(set(rows[:5]) != set(ordered[:5]) for rows in other)
        assert first(1, False) == other[0]


def block_by_block(x, mask, size, generator=None):
    """Yield one pass by the plain algorithm: read a block, shuffle it, cut it into batches."""
    starts = np.arange(0, len(x), 16 * size)
    left = x[:0]
    for start in starts if generator is None else generator.permutation(starts):
        block = x[start : start + 16 * size][mask[start : start + 16 * size]]
        if generator is not None:
            block = block[torch.from_numpy(generator.permutation(len(block)))]
        block = torch.cat([left, block])
        full = len(block) // size * size
        yield from block[:full].split(size) if full else ()
        left = block[full:]


@pytest.mark.parametrize("masked", [0, 1, 40])
def test_prefetched_batches_equal_reading_block_by_block(tmp_path, masked):
    rng, size = np.random.default_rng(masked), 3
    x = torch.from_numpy(rng.standard_normal((2, 200, D))).bfloat16().float()
    masks = np.ones((2, 200), dtype=int)
    masks[1, rng.choice(200, masked, replace=False)] = 0
    paths = [
        make_shard(tmp_path / name / "shard-0.h5", x[i], mask=masks[i].tolist())
        for i, name in enumerate(("base", "rl-1"))
    ]
    kept, both = torch.from_numpy(masks[1] == 1), x.transpose(0, 1)
    expected = list(block_by_block(both, kept, size))
    for number in (1, 2):
        generator = np.random.default_rng([7, 0, number])
        expected += block_by_block(both, kept, size, generator)
    with ShardReader(paths) as reader:
        plain = reader.endless(size, [7, 0])
        with reader.prefetch(size, [7, 0]) as stream:
            for batch in expected:
                assert torch.equal(next(plain), batch)
                assert torch.equal(next(stream), batch)
                assert stream.wait_seconds >= 0


def test_chunked_activations_are_refused(pair):
    with h5py.File(pair[1], "a") as file:
        x = file["activations"][:]
        del file["activations"]
        file.create_dataset("activations", data=x, chunks=(5, D))
    with pytest.raises(InputError, match="rl-1/shard-0.h5: .* found uint16, not contiguous"):
        ShardReader(pair)


def test_shard_with_less_than_a_batch_is_refused(pair):
    with (
        ShardReader(pair) as reader,
        pytest.raises(
            InputError, match="only 8 activations are kept, fewer than crosscoder.batch_size: 9"
        ),
    ):
        next(reader.endless(9, [0]))
    with (
        ShardReader(pair) as reader,
        pytest.raises(InputError, match="only 8 activations are kept"),
    ):
        reader.prefetch(9, [0])


def test_truncated_file_is_refused(pair):
    pair[1].write_bytes(pair[1].read_bytes()[:-50])
    with pytest.raises(InputError, match="rl-1/shard-0.h5: this HDF5 file is truncated"):
        ShardReader(pair)


def test_file_without_a_data_set_is_refused(pair):
    with h5py.File(pair[1], "a") as file:
        del file["mask"]
    with pytest.raises(InputError, match="rl-1/shard-0.h5: the data set mask is missing"):
        ShardReader(pair)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": np.arange(1, 11, dtype=np.uint32)}, "its tokens differ from those of"),
        ({"corpus_hash": "other"}, "its corpus_hash differs from that of"),
        ({"layer": 2}, "its layer differs"),
        ({"shard": "1"}, "its shard differs"),
    ],
)
def test_shards_that_do_not_belong_together_are_refused(pair, tmp_path, change, message):
    other = make_shard(tmp_path / "sft-1" / "shard-0.h5", numbered(10), **change)
    with pytest.raises(InputError, match=f"sft-1/shard-0.h5: {message}"):
        ShardReader([*pair, other])


def test_shards_of_different_length_are_refused(pair, tmp_path):
    other = make_shard(tmp_path / "sft-1" / "shard-0.h5", numbered(9))
    with pytest.raises(InputError, match="sft-1/shard-0.h5: its tokens differ"):
        ShardReader([*pair, other])
