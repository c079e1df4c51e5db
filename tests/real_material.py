"""Real benchmarks, problems, corpora and tokenizers, for the tests on machines that have them."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "real"


def real(name: str) -> Path:
    """Return a file or folder of the real material; without the material, skip the test."""
    if not FOLDER.is_dir():
        pytest.skip("needs real data next to the checkout, in ../shared/real")
    return FOLDER / name
