"""The token counts of data-path.json."""

import pytest

from crosslens.activations.token_accounting import summarize_tokens
from crosslens.io.errors import InputError


def counts(token_hash, masked=0):
    return {
        "tokens_requested": 128,
        "rows_written": 127,
        "dropped_positions": 1,
        "sequences": 1,
        "distinct_sequences": 1,
        "zero_rows": 0,
        "masked_rows": masked,
        "token_hash": token_hash,
        "layer": 2,
    }


def test_training_shards_are_summed_and_the_heldout_shard_is_separate():
    table = {
        (variant, shard): counts(shard, masked)
        for variant, masked in (("base", 1), ("rl-5", 4))
        for shard in ("heldout", "0", "1")
    }
    result = summarize_tokens(table, 300, 1)
    assert result["tokens_requested"] == 300
    assert (result["rows_written"], result["dropped_positions"], result["sequences"]) == (254, 2, 2)
    assert result["leftover_tokens"] == 300 - 256
    assert result["distinct_sequences"] == 1
    assert result["masked_rows"] == {"base": 2, "rl-5": 8}
    assert result["heldout_tokens"] == 127 and result["shards"] == 2


def test_variants_that_saw_different_tokens_are_named():
    table = {("base", "0"): counts("a"), ("sft-1", "0"): counts("a"), ("rl-5", "0"): counts("b")}
    with pytest.raises(InputError, match="shard 0: the tokens of rl-5 differ from those of base"):
        summarize_tokens(table, 300, 1)
