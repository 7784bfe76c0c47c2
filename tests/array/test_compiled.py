"""Compiled functions: what wraps them, and threads that share their work."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from norsim.array.compiled import in_threads, inner, njit


def test_threads_do_their_shares_at_the_same_time() -> None:
    done, all_at_work = np.zeros(3), threading.Barrier(3, timeout=10)

    def work(thread: int) -> None:
        all_at_work.wait()
        done[thread] = thread + 1

    in_threads(work, 3)
    assert done.tolist() == [1, 2, 3]


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_any_thread_is_raised_after_all_have_ended(failing: int) -> None:
    ended = []

    def work(thread: int) -> None:
        if thread == failing:
            raise ValueError(f"share {thread}")
        ended.append(thread)

    with pytest.raises(ValueError, match=f"share {failing}"):
        in_threads(work, 2)
    assert ended == [1 - failing]


def test_compiled_functions_call_inner_ones() -> None:
    double: Any = inner()(lambda x: 2 * x)

    @njit(nogil=True)
    def six_times(x: float) -> float:
        found: float = 3 * double(x)
        return found

    assert six_times(7.0) == 42.0
