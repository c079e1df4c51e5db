"""Account for tokens from corpus to shards: requested, written, skipped, masked."""

from crosslens.data.corpus import HELDOUT
from crosslens.io.errors import InputError

SUMMED = ("rows_written", "dropped_positions", "sequences")
PER_VARIANT = ("zero_rows", "masked_rows")


def summarize_tokens(
    counts: dict[tuple[str, str], dict], tokens_requested: int, distinct_sequences: int
) -> dict:
    """Return totals over the training shards, per variant where variants can differ.

    `counts[variant, shard]` are the counts written with each shard. `distinct_sequences` is counted
    over all training shards together. `leftover_tokens` fill no complete sequence or shard. Raises
    InputError when the tokens of two variants differ.
    """
    variants = list(dict.fromkeys(variant for variant, _ in counts))
    shards = [shard for variant, shard in counts if variant == variants[0]]
    for shard in shards:
        check_same_tokens({v: counts[v, shard]["token_hash"] for v in variants}, shard)
    training = [shard for shard in shards if shard != HELDOUT]

    def total(variant: str, key: str) -> int:
        return sum(counts[variant, shard][key] for shard in training)

    first = variants[0]
    return {
        "tokens_requested": tokens_requested,
        "leftover_tokens": tokens_requested - total(first, "tokens_requested"),
        **{key: total(first, key) for key in SUMMED},
        "distinct_sequences": distinct_sequences,
        **{key: {variant: total(variant, key) for variant in variants} for key in PER_VARIANT},
        "heldout_tokens": sum(counts[first, s]["rows_written"] for s in shards if s == HELDOUT),
        "shards": len(training),
        "variants": variants,
        "layer": counts[first, shards[0]]["layer"],
        "token_hashes": {shard: counts[first, shard]["token_hash"] for shard in shards},
    }


def check_same_tokens(hashes: dict[str, str], shard: str) -> None:
    """Raise InputError naming the variants whose tokens differ."""
    expected = next(iter(hashes.values()))
    others = [variant for variant, token_hash in hashes.items() if token_hash != expected]
    if others:
        raise InputError(
            f"shard {shard}: the tokens of {', '.join(others)} differ from those of "
            f"{next(iter(hashes))}. Delete the activations and run again."
        )
