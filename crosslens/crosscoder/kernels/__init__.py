"""The exact training step of a crosscoder, by the path that is fastest at the measured density."""
