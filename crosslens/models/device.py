"""Choose the device to compute on."""

import torch


def best_device() -> str:
    """Return the device to compute on: a GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"
