"""GRPO with verl (on GPUs through vLLM, on a CPU through a small platform plugin), or with TRL."""
