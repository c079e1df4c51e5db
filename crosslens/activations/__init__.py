"""The residual stream of every model on the corpus, written and read shard by shard.

Belongs here: extraction, the HDF5 shard format with its writer, reader and prefetching, the count
of what became of every token.
Does not: what is learned from activations (`crosscoder`, `analysis`).
"""
