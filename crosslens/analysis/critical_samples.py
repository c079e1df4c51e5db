"""Find the samples that base gets wrong and the RL model gets right (section 3.2)."""

from crosslens.io.errors import InputError


def critical_samples(base: list[dict], rl: list[dict], tasks: list[str]) -> dict[str, dict]:
    """Per task, the documents that base gets wrong and RL gets right (section 3.2), and those RL
    lost. `base` and `rl` are the records of samples.jsonl.

    Joined on document id and hash. Raises InputError when the two runs saw different documents.
    """
    result = {}
    for task in tasks:
        before, after = (
            {key(r): r["correct"] for r in rows if r["task"] == task} for rows in (base, rl)
        )
        if before.keys() != after.keys():
            raise InputError(
                f"{task}: {len(before.keys() ^ after.keys())} documents of base and RL differ in "
                "id or hash: they were evaluated on different files, evaluate both again"
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
    """What identifies a document."""
    return row["doc_id"], row["doc_hash"]
