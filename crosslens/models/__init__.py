"""Causal language models: loading, batching, sampling, and fast products on a CPU.

Belongs here: what evaluation, extraction, teachers and rollouts share about a transformers model.
Does not belong here: training (`posttraining`), residual streams (`activations`), benchmarks
(`evaluation`).
"""
