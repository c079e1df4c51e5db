"""Critical samples, by worked numbers."""

import pytest

from crosslens.analysis.critical_samples import cell_of, critical_samples, half_of
from crosslens.io.errors import InputError


def outcome(doc: int, correct: int, task: str = "t", text: str = "h") -> dict:
    return {"task": task, "doc_id": doc, "doc_hash": f"{text}{doc}", "correct": correct}


def test_critical_samples_are_wrong_in_base_and_right_in_rl() -> None:
    base = [outcome(0, 0), outcome(1, 1), outcome(2, 0), outcome(3, 1)]
    rl = [outcome(0, 1), outcome(1, 1), outcome(2, 0), outcome(3, 0)]
    found = critical_samples(base, rl, ["t"])["t"]
    assert found == {
        "documents": 4,
        "critical": [{"doc_id": 0, "doc_hash": "h0"}],
        "lost": 1,
    }


def test_different_documents_are_refused() -> None:
    with pytest.raises(InputError, match="on the same file"):
        critical_samples([outcome(0, 0)], [outcome(0, 1, text="other")], ["t"])


def test_the_four_cells() -> None:
    cells = {(0, 1): "won", (1, 0): "lost", (1, 1): "both_right", (0, 0): "both_wrong"}
    assert all(cell_of(*map(bool, pair)) == cell for pair, cell in cells.items())


def test_halves_are_even_and_depend_on_passage_and_seed_only() -> None:
    halves = [half_of(f"{i}", seed=0) for i in range(1000)]
    assert 450 < halves.count("A") < 550
    assert halves == [half_of(f"{i}", seed=0) for i in range(1000)]
    assert halves != [half_of(f"{i}", seed=1) for i in range(1000)]
