"""Benchmarks by lm-eval's own task code: accuracies and the outcome of every sample.

Belongs here: tasks over local files, the model under the harness, the protocol for math.
Does not belong here: comparing models (`analysis`), tables (`reporting`).
"""
