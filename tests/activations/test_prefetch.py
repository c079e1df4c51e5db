"""A thread reads ahead: the order of the items, a fixed ring of buffers, an honest waiting time."""

import time
from itertools import count

import pytest
import torch

from crosslens.activations.prefetch import Prefetch


def write(item, buffer):
    return buffer.fill_(item)


def buffers(number=3):
    return [torch.empty(2) for _ in range(number)]


def settled(stream):
    """Wait until the thread has nothing left to fill."""
    while not stream.free.empty():
        time.sleep(0.001)
    time.sleep(0.02)


def test_batches_come_in_the_order_of_the_items_and_then_end():
    with Prefetch(iter(range(20)), write, buffers()) as stream:
        assert [int(batch[0]) for batch in stream] == list(range(20))
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(stream)


def test_only_the_given_buffers_are_used_and_one_in_use_is_left_alone():
    ring = buffers()
    with Prefetch(count(), write, ring) as stream:
        for expected in range(10):
            batch = next(stream)
            settled(stream)  # the thread is as far ahead as it can get
            assert (batch == expected).all()
            assert batch.data_ptr() in {buffer.data_ptr() for buffer in ring}


def test_an_exception_in_the_thread_is_raised_where_its_batch_is_asked_for():
    def fail_at_three(item, buffer):
        if item == 3:
            raise OSError("disk gone")
        return write(item, buffer)

    with Prefetch(count(), fail_at_three, buffers()) as stream:
        assert [int(next(stream)[0]) for _ in range(3)] == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(OSError, match="disk gone"):
                next(stream)


def test_waiting_is_counted_and_what_is_ready_costs_none():
    def slow(item, buffer):
        time.sleep(0.03)
        return write(item, buffer)

    with Prefetch(iter(range(5)), slow, buffers()) as stream:
        list(stream)
        assert stream.waited > 0.1
    with Prefetch(iter(range(3)), write, buffers()) as stream:
        settled(stream)
        list(stream)
        assert stream.waited < 0.1


def test_closing_ends_the_thread_of_an_endless_stream():
    with Prefetch(count(), write, buffers()) as stream:
        next(stream)
    assert not stream.thread.is_alive()
