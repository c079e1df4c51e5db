"""A thread reads ahead: items stay in order, buffers are reused, waiting time is measured."""

import time
from itertools import count

import pytest
import torch

from crosslens.activations.prefetch import Prefetch


def write(item, buffer):
    return buffer.fill_(item)


def buffers(number=3):
    return [torch.empty(2) for _ in range(number)]


def wait_until_full(stream):
    """Wait until the thread has no free buffer left."""
    while not stream.free.empty():
        time.sleep(0.001)
    time.sleep(0.02)


def test_batches_come_in_the_order_of_the_items():
    with Prefetch(iter(range(20)), write, buffers()) as stream:
        assert [int(batch[0]) for batch in stream] == list(range(20))
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(stream)


def test_buffers_are_reused_and_one_in_use_is_not_overwritten():
    ring = buffers()
    with Prefetch(count(), write, ring) as stream:
        for expected in range(10):
            batch = next(stream)
            wait_until_full(stream)  # the thread is as far ahead as it can get
            assert (batch == expected).all()
            assert batch.data_ptr() in {buffer.data_ptr() for buffer in ring}


def test_exception_in_the_thread_is_raised_when_its_batch_is_requested():
    def fail_at_three(item, buffer):
        if item == 3:
            raise OSError("disk gone")
        return write(item, buffer)

    with Prefetch(count(), fail_at_three, buffers()) as stream:
        assert [int(next(stream)[0]) for _ in range(3)] == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(OSError, match="disk gone"):
                next(stream)


def test_waiting_time_counts_only_batches_that_are_not_ready():
    def slow(item, buffer):
        time.sleep(0.03)
        return write(item, buffer)

    with Prefetch(iter(range(5)), slow, buffers()) as stream:
        list(stream)
        assert stream.wait_seconds > 0.1
    with Prefetch(iter(range(3)), write, buffers()) as stream:
        wait_until_full(stream)
        list(stream)
        assert stream.wait_seconds < 0.1


def test_close_ends_the_thread_of_an_endless_stream():
    with Prefetch(count(), write, buffers()) as stream:
        next(stream)
    assert not stream.thread.is_alive()
