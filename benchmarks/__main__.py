"""Run every benchmark: tables in Markdown, and last one line of JSON with the ratios.

usage: python -m benchmarks [MODULE ...]      (no module: all)
"""

import json
import os
import sys
from importlib import import_module
from types import ModuleType

import torch

from benchmarks.machine import describe

# A module that is here has a title and the two functions that the package's docstring tells of.
MODULES = (
    "agreement",
    "step",
    "batch_topk",
    "paths",
    "training",
    "compilation",
    "reader",
    "extraction",
    "quality",
    "model",
)


def table(lines: list[dict]) -> str:
    """Lines with the same keys as Markdown."""
    keys = list(lines[0])
    cells = [keys, ["---"] * len(keys), *([str(v) for v in line.values()] for line in lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def run(module: ModuleType) -> dict[str, float]:
    """Print a module's table; its ratios."""
    print(f"\n## {module.TITLE}\n{module.__doc__}", flush=True)
    print(f"\n{table(module.rows())}", flush=True)
    return module.ratios()


def main(names: list[str]) -> None:
    """Run the named modules, or all."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    print(f"# Benchmarks\n\n{describe()}", flush=True)
    found: dict[str, float] = {}
    for name in names or MODULES:
        found |= run(import_module(f"benchmarks.{name}"))
    print("\n## Ratios\n")
    print(json.dumps({name: float(f"{value:.4g}") for name, value in found.items()}))


if __name__ == "__main__":
    main(sys.argv[1:])
