"""Sparse crosscoders over N models: the model, its exact sparse training step, training.

Belongs here: the loss, the optimizer step on CPU and GPU (`kernels`), training by shards, the file
format.
Does not: what features mean (`analysis`).
"""
