"""Analysis of features: specificity, overlap, generalization features, causal interventions.

Belongs here: NRN, MAS, overlap and rank shifts, critical samples, feature scores and selection,
edits of a model, intervals and tests.
Does not belong here: plots and sentences (`reporting`).
"""
