"""Reading ahead in a thread."""

from __future__ import annotations

import threading
import time

import pytest

from vitruvian.media import prefetch


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vitruvian-prefetch"]


@pytest.mark.parametrize("depth", [1, 3, 100])
def test_items_come_in_order_and_the_thread_ends(depth):
    assert list(prefetch(range(50), depth)) == list(range(50))
    assert list(prefetch([], depth)) == []
    assert list(prefetch([None, None], depth)) == [None, None]
    assert threads() == []


def test_an_exception_comes_after_the_items_before_it():
    def numbers():
        yield 1
        yield 2
        raise OSError("the disk is gone")

    got = []
    with pytest.raises(OSError, match="the disk is gone"):
        for number in prefetch(numbers(), 4):
            got.append(number)
    assert got == [1, 2]
    assert threads() == []


def test_what_cannot_be_iterated_raises_here():
    with pytest.raises(TypeError):
        list(prefetch(5, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", [1, 4])
def test_leaving_early_stops_the_thread_and_closes_the_source(depth):
    closed = []

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread().name)

    stream = prefetch(endless(), depth)
    next(stream)
    assert len(threads()) == 1
    stream.close()
    assert threads() == []
    assert closed == ["vitruvian-prefetch"]


def test_an_error_of_the_consumer_stops_the_thread():
    with pytest.raises(ZeroDivisionError):
        for number in prefetch(iter(int, 1), 2):
            1 / number
    assert threads() == []


def test_it_reads_no_further_ahead_than_its_depth():
    made = []
    waiting = threading.Event()

    def numbers():
        for number in range(100):
            made.append(number)
            if number == 4:
                waiting.set()
            yield number

    stream = prefetch(numbers(), 3)
    next(stream)
    assert waiting.wait(10)  # taken 1, three in the queue, one in hand
    time.sleep(0.05)
    assert len(made) == 5
    stream.close()


def test_a_depth_below_one_is_refused_at_once():
    with pytest.raises(ValueError, match="depth"):
        prefetch([], 0)
