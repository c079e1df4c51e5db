"""What the features say: specificity, overlap, generalization features, causal interventions.

Belongs here: NRN, MAS, overlap and rank shifts, critical samples, feature scores and selection,
edits of a model, intervals and tests.
Does not: drawing and wording (`reporting`).
"""
