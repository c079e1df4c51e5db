"""Print as JSON which GPU PyTorch finds, if any, and what the machine is."""

import json

import torch

from benchmarks.machine import describe

if __name__ == "__main__":
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    print(json.dumps({"gpu": gpu, "machine": describe()}))
