"""Find samples that base answers incorrectly and RL correctly (section 3.2), and split them.

Critical samples are compared with the other three cells of base and RL, correct and incorrect.
"""

import hashlib

from crosslens.io.errors import InputError

CELLS = ("won", "lost", "both_right", "both_wrong")  # "won" are the critical samples
HALVES = ("A", "B")


def critical_samples(base: list[dict], rl: list[dict], tasks: list[str]) -> dict[str, dict]:
    """Return each task's critical samples: base is incorrect and RL is correct (section 3.2).

    The samples that base answers correctly and RL incorrectly are counted. `base` and `rl` are the
    records of samples.jsonl, joined on document id and hash. Raises InputError when the documents
    of the two evaluations differ.
    """
    result = {}
    for task in tasks:
        before, after = (
            {key(r): r["correct"] for r in rows if r["task"] == task} for rows in (base, rl)
        )
        if before.keys() != after.keys():
            raise InputError(
                f"{task}: {len(before.keys() ^ after.keys())} documents of base and RL differ in "
                "id or hash. Evaluate both models again on the same file."
            )
        gained = [doc for doc in before if after[doc] and not before[doc]]
        lost = [doc for doc in before if before[doc] and not after[doc]]
        result[task] = {
            "documents": len(before),
            "critical": [{"doc_id": i, "doc_hash": h} for i, h in gained],
            "lost": len(lost),
        }
    return result


def key(row: dict) -> tuple[int, str]:
    """Return what identifies a document."""
    return row["doc_id"], row["doc_hash"]


def cell_of(base: bool, rl: bool) -> str:
    """Return the cell of a question from whether base and RL answer it correctly."""
    if base:
        return "both_right" if rl else "lost"
    return "won" if rl else "both_wrong"


def half_of(passage: str, seed: int) -> str:
    """Assign a question to a half: features selected on one half are tested on the other.

    All documents about one passage are in the same half, whatever their task and order.
    """
    digest = hashlib.sha256(f"{seed} {passage}".encode()).digest()
    return HALVES[digest[0] % 2]
