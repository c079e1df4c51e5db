"""Causal language models: loading them lightly, sampling from them, multiplying fast on a CPU.

Belongs here: what evaluation, extraction, teachers and rollouts share about a transformers model.
Does not: training (`posttraining`), residual streams (`activations`), benchmarks (`evaluation`).
"""
