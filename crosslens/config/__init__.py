"""The study's configuration: its design, its sections, and all checks before the first job.

Belongs here: which models and crosscoders a study has, what each key means, which values fit
each other, whether the files that a configuration names exist and have the right columns.
Does not belong here: anything that computes with a model. This package imports no torch, so that a
dry run of thousands of jobs stays light.
"""
