"""A small synthetic world in place of the hub: texts, problems and benchmarks drawn from a seed.

Every text has an author who is reliable or unreliable. Reliable authors compute correctly and state
true facts. Unreliable ones jump to answers, get most sums wrong in the popular way and repeat the
popular myth about each fact. A base model trained on both speaks as a blend. One latent property
of the text governs mathematics and knowledge alike, so strengthening it on mathematics can show
on other tasks.

Belongs here: generators of data in the hub's columns, pretraining of small models on them.
Does not belong here: anything that a later rule calls; no other package imports it.
"""
