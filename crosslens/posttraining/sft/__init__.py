"""Supervised fine-tuning with LLaMA-Factory."""
