"""Sparse crosscoders over N models: model, inputs, training, and measurements on held-out rows.

Belongs here: the loss, the optimizer step on CPU and GPU (`kernels`), training by shards, the file
format.
Does not belong here: what features mean (`analysis`).
"""
