"""Whole networks of the anchor-based family run with the order of summation that the published outputs were made with.

Decoded points and widths are differences of large numbers: in s6_head float64 misses the published float32 by 17 times the tolerance, and
one thread by 27 times, though all raw heads agree within it. Two threads with oneDNN add in the order of the reference, and agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def two_threads() -> Iterator[None]:
    """Two threads of torch within the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
