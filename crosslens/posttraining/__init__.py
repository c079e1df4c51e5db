"""SFT and GRPO by their training backends, from settings to five plain checkpoints.

Belongs here: settings for LLaMA-Factory, verl and TRL, their processes, resuming an interrupted
run, checkpoint schedules, training curves.
Does not belong here: the reward's grader (`data.grading`), evaluation of the trained models.
"""
