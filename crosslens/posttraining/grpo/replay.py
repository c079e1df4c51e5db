"""verl's replay buffer, with one order of a step's answers whichever of them came first.

verl takes answers as they arrive, under random names. Sorted by their tokens, the same answers make
the same updates: on a CPU the same run ends in the same weights, bit for bit.
"""

from typing import Any

import transfer_queue as tq
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

POLL = 0.1  # seconds between looks for a step's last answer; verl's are 2


class Ordered(ReplayBuffer):
    """verl's own, but for the order."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, poll_interval=POLL)

    def _materialize_batch(self, *arguments: Any) -> KVBatchMeta:
        batch = super()._materialize_batch(*arguments)
        fields = ["prompts", "responses"]
        data = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=fields
        )
        tokens = [[part.tolist() for part in data[field].unbind()] for field in fields]
        texts = list(zip(*tokens, strict=True))
        batch.reorder(sorted(range(len(texts)), key=texts.__getitem__))
        return batch
