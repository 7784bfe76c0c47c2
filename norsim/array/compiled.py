"""numba's `njit`, whose machine code is kept on disk where that is possible, and threads for such functions."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import numba


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function with `options` of `numba.njit`.

    If neither the folder of the function's file nor the home folder can be written, each process compiles it again.
    """
    # No function is called from C.
    options = {"no_cfunc_wrapper": True, **options}

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba found no folder for its cache
            return numba.njit(**options)(function)

    return compiled


def inner(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return the same decorator for a function that only compiled functions call: without the wrapper for calls from
    Python, which can take as long to compile as the function itself."""
    return njit(no_cpython_wrapper=True, **options)


def in_threads(work: Callable[[int], object], threads: int) -> None:
    """Call work(0) in this thread and work(1) to work(threads - 1) in others at the same time, and wait for all.

    The functions that `work` calls compute at the same time if they are compiled with `nogil`. Raises the first error
    of any of them.
    """
    failed: list[BaseException] = []

    def share(thread: int) -> None:
        try:
            work(thread)
        except BaseException as problem:  # raised below, in the caller's thread
            failed.append(problem)

    others = [Thread(target=share, args=(thread,)) for thread in range(1, threads)]
    for other in others:
        other.start()
    share(0)
    for other in others:
        other.join()
    if failed:
        raise failed[0]
