"""Work shared between threads so that the same input gives the same bits on any of them.

The transforms and the kernels release the interpreter lock, so plain threads are enough. A sum
over frames is taken in a fixed number of partial sums, each in a fixed order, however many
threads there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


@cache
def thread_pool() -> ThreadPoolExecutor:
    """Return the threads that engines share."""
    return ThreadPoolExecutor(usable_cores(), thread_name_prefix="reconstruction")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def for_each_share(work: Callable[[int, Sequence[Item]], T], items: Sequence[Item], shares: int) -> list[T]:
    """Deal items out into some shares and return ``work(number, share)`` in their order."""
    return list(thread_pool().map(work, range(shares), (items[start::shares] for start in range(shares))))
