"""The residual stream of every model on the corpus, written and read shard by shard.

Belongs here: extraction, the HDF5 shard format with its writer, reader and prefetching, and the
accounting of tokens from corpus to shards.
Does not belong here: what is learned from activations (`crosscoder`, `analysis`).
"""
