"""Give verl's replay buffer a fixed order of a step's completions.

verl takes completions as they arrive, under random names. Sorted by their tokens, equal completions
give equal updates. On a CPU a repeated run therefore ends with the same weights, bit for bit.
"""

from typing import Any

import transfer_queue as tq
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

POLL_SECONDS = 0.1  # between checks for a step's last completion; verl's default is 2


class OrderedReplayBuffer(ReplayBuffer):
    """verl's replay buffer with completions sorted by their tokens."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, poll_interval=POLL_SECONDS)

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
