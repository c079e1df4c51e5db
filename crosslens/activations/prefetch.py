"""Batches made ready by a thread while the caller still works on those before."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import torch

Fill = Callable[[Any, torch.Tensor], torch.Tensor]  # what to read, a buffer: the batch within it


class Lent(NamedTuple):
    """A buffer the caller still works with, and what must have happened before it is free."""

    buffer: torch.Tensor
    copied: torch.cuda.Event | None


class Prefetch:
    """Iterate over batches that a thread reads ahead into a fixed ring of buffers.

    The thread takes one item after the other and calls `fill(item, buffer)`: the order is that of
    the items, whatever the timing. A batch is valid until the next one is asked for; clone what
    must live longer. `item` is what the last batch was made from. `waited` counts the seconds in
    which the caller had to wait for the thread. An exception in the thread is raised where its
    batch is asked for. Close it, or use `with`.

    On a CUDA device the buffers should be pinned: batches are copied on a stream of their own while
    the device computes, and the host waits only for the copy of the batch before the last.
    """

    def __init__(
        self,
        items: Iterator[Any],
        fill: Fill,
        buffers: list[torch.Tensor],
        device: torch.device | str = "cpu",
    ) -> None:
        self.waited = 0.0
        self.item: Any = None
        self.closed = False
        self.device = torch.device(device)
        self.copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.free: SimpleQueue[torch.Tensor | None] = SimpleQueue()
        self.ready: SimpleQueue[tuple | BaseException | None] = SimpleQueue()
        self.lent: deque[Lent] = deque()
        for buffer in buffers:
            self.free.put(buffer)
        self.thread = Thread(target=self.work, args=(items, fill), daemon=True)
        self.thread.start()

    def work(self, items: Iterator[Any], fill: Fill) -> None:
        """The thread: fill free buffers until the items end or the caller closes."""
        try:
            for item in items:
                buffer = self.free.get()
                if self.closed:
                    return
                self.ready.put((item, buffer, fill(item, buffer)))
            self.ready.put(None)
        except BaseException as error:  # to be raised in the caller's thread
            self.ready.put(error)

    def __iter__(self) -> "Prefetch":
        return self

    def __next__(self) -> torch.Tensor:
        self.take_back()
        started = time.perf_counter()
        found = self.ready.get()
        self.waited += time.perf_counter() - started
        if not isinstance(found, tuple):
            self.ready.put(found)  # the end stays the end
            raise StopIteration if found is None else found
        self.item, *lent = found
        return self.lend(*lent)

    def take_back(self) -> None:
        """Free the buffer of the last batch; on CUDA, that of the one before it."""
        while len(self.lent) > (self.copies is not None):
            buffer, copied = self.lent.popleft()
            if copied is not None:
                copied.synchronize()
            self.free.put(buffer)

    def lend(self, buffer: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """The batch for the caller: the buffer's own memory, or a float32 copy on the device."""
        if self.copies is None:
            self.lent.append(Lent(buffer, None))
            return batch
        now = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.copies):
            x = batch.to(self.device, non_blocking=True)
            self.lent.append(Lent(buffer, self.copies.record_event()))
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
