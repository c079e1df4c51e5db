"""Read batches ahead in a thread while the caller works on earlier ones."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import torch
from jaxtyping import Shaped

Fill = Callable[[Any, torch.Tensor], torch.Tensor]  # item, buffer -> the batch in that buffer


class BufferInUse(NamedTuple):
    """A buffer that the caller still uses, and the copy that must end before it is free."""

    buffer: torch.Tensor
    copied: torch.cuda.Event | None


class Prefetch:
    """Iterate over batches that a thread reads ahead into a fixed ring of buffers.

    The thread calls `fill(item, buffer)` for one item after the other, so batches come in the order
    of the items. A batch is valid until the next one is requested; clone what must live longer.
    `item` is the last batch's item, and `wait_seconds` how long the caller waited for the thread.
    An exception in the thread is raised when its batch is requested. Close it, or use `with`.

    On a CUDA device the buffers should be pinned: batches are copied on a separate stream while the
    device computes, and the host waits only for the copy of the batch before the last.
    """

    def __init__(
        self,
        items: Iterator[Any],
        fill: Fill,
        buffers: list[Shaped[torch.Tensor, "*batch"]],
        device: torch.device | str = "cpu",
    ) -> None:
        self.wait_seconds = 0.0
        self.closed = False
        self.item: Any = None
        self.device = torch.device(device)
        self.copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.free: SimpleQueue[torch.Tensor | None] = SimpleQueue()
        self.ready: SimpleQueue[tuple | BaseException | None] = SimpleQueue()
        self.in_use: deque[BufferInUse] = deque()
        for buffer in buffers:
            self.free.put(buffer)
        self.thread = Thread(target=self.fill_buffers, args=(items, fill), daemon=True)
        self.thread.start()

    def fill_buffers(self, items: Iterator[Any], fill: Fill) -> None:
        """Fill free buffers, in the thread, until the items end or the caller closes."""
        try:
            for item in items:
                buffer = self.free.get()
                if self.closed or buffer is None:
                    return
                self.ready.put((item, buffer, fill(item, buffer)))
            self.ready.put(None)
        except BaseException as error:  # to be raised in the caller's thread
            self.ready.put(error)

    def __iter__(self) -> "Prefetch":
        return self

    def __next__(self) -> Shaped[torch.Tensor, "*batch"]:
        self.recycle()
        started = time.perf_counter()
        ready = self.ready.get()
        self.wait_seconds += time.perf_counter() - started
        if not isinstance(ready, tuple):
            self.ready.put(ready)  # every later call ends or fails in the same way
            raise StopIteration if ready is None else ready
        self.item, buffer, batch = ready
        return self.hand_out(buffer, batch)

    def recycle(self) -> None:
        """Free the buffer of the last batch; on CUDA, that of the one before it."""
        while len(self.in_use) > (self.copies is not None):
            buffer, copied = self.in_use.popleft()
            if copied is not None:
                copied.synchronize()
            self.free.put(buffer)

    def hand_out(
        self, buffer: Shaped[torch.Tensor, "*batch"], batch: Shaped[torch.Tensor, "*batch"]
    ) -> Shaped[torch.Tensor, "*batch"]:
        """Return the batch: the buffer's own memory, or a float32 copy on the device."""
        if self.copies is None:
            self.in_use.append(BufferInUse(buffer, None))
            return batch
        now = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.copies):
            x = batch.to(self.device, non_blocking=True)
            self.in_use.append(BufferInUse(buffer, self.copies.record_event()))
        now.wait_stream(self.copies)
        x.record_stream(now)
        return x.float()

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self.closed = True
        self.free.put(None)
        self.thread.join()

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
