"""numba's `njit`, whose machine code is kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function with `options` of `numba.njit`.

    If neither the folder of the function's file nor the home folder can be written, each process compiles it again.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba found no folder for its cache
            return numba.njit(**options)(function)

    return compiled
