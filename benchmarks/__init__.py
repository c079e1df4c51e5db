"""What the library costs, against plain PyTorch, packages from the index, and what hardware allows.

Each module measures one thing: `rows()` gives its table, one dict a line with the same keys, and
`ratios()` the judged numbers by name. Both read one measurement, taken once. Contestants run
interleaved in one process, so that a busy machine slows all alike; ratios are medians of rounds.
"""
