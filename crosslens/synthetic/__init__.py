"""Synthetic data in place of the hub: texts, problems and benchmarks drawn from a seed.

Every text has a reliable or an unreliable author. Reliable authors compute correctly and state true
facts. Unreliable authors guess answers, make the popular mistake in most sums, and repeat the
popular myth about each fact. A base model trained on both imitates both. One latent property of the
text, reliability, governs mathematics and knowledge alike, so strengthening it in mathematics can
affect other tasks.

Belongs here: generators of data in the hub's columns, pretraining of small models on them.
Does not belong here: anything that a later rule calls; no other package imports it.
"""
