"""A thread that reads ahead: decoding runs while the consumer detects, draws and encodes (PyAV and ONNX Runtime release the GIL)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T], depth: int = 4) -> Iterator[T]:
    """Yields the items in order while a thread produces up to `depth` of them ahead; the thread starts at the first `next`.

    An exception of the producer is raised here, after the items before it. When the consumer leaves early (break, exception,
    `close()`), the thread stops after the item it is at. A generator is closed in the thread that ran it. ValueError when depth < 1.
    """
    if depth < 1:
        raise ValueError(f"prefetch needs a depth of at least 1, not {depth}")
    return _consume(items, depth)


def _consume(items: Iterable[T], depth: int) -> Iterator[T]:
    ready: queue.Queue[tuple[str, object]] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, ready, stop), name="vitruvian-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            what, value = ready.get()
            if what == "end":
                return
            if what == "error":
                raise value  # type: ignore[misc]
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        # The producer may be waiting for room: it looks at `stop` after every item, so one emptied queue is enough to let it go.
        while not ready.empty():
            ready.get_nowait()
        thread.join()


def _produce(items: Iterable[T], ready: queue.Queue, stop: threading.Event) -> None:
    try:
        iterator = iter(items)
        try:
            for item in iterator:
                ready.put(("item", item))
                if stop.is_set():
                    return
        finally:
            if isinstance(iterator, Generator):
                iterator.close()
    except BaseException as error:  # raised again in the consumer's thread, where it can be seen
        last = ("error", error)
    else:
        last = ("end", None)
    if not stop.is_set():
        ready.put(last)
