"""Compare a base language model with its SFT- and RL-tuned descendants, feature by feature."""

__version__ = "0.1.0"
