"""A small world that stands for the hub: texts, problems and benchmarks drawn from a seed.

Every text has an author who is careful or careless. Careful authors compute correctly and state
true facts; careless ones jump to answers, get most sums wrong in the popular way and repeat the
popular myth about each fact. A base model trained on both speaks as a blend. One latent property of
the text governs mathematics and knowledge alike, so strengthening it on mathematics can show
elsewhere: the more so the more there is that only another author would mend at once.
"""

POSITIONS = 512  # of its models
