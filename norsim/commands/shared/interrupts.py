"""Interrupts: a signal ends a command with exit code 130 within two seconds, whatever it does at that moment.

A Python handler runs only between two instructions of the main thread, and user code may swallow its exception, so a
thread waits for the signals as well. If the command has not ended soon after the first one, or at once after the
second, that thread stops all child processes, removes unfinished files, and ends the process.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from norsim.child_processes import stop_running
from norsim.files import UNFINISHED

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
# Time for a command to end by itself.
GRACE_SECONDS = 1.0
# A worker thread that is about to start a simulator has started it after this time.
STARTED_SECONDS = 0.05
SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt in this thread at the first SIGINT, SIGTERM or SIGHUP within the block, and end the
    process if that does not help.

    Signals that the process was started to ignore are still ignored. Only the main thread can handle signals; in
    another one, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner, received = os.getpid(), list[int]()

    def interrupt(number: int, frame: Any) -> None:
        received.append(number)
        # The thread takes care of later signals, which would disturb the clean-up after the first.
        if len(received) == 1:
            raise KeyboardInterrupt

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in handled}
    before_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def forked() -> None:
        # The pipe is shared with a forked child: a signal to the child is none to this process.
        if signal.getsignal(signal.SIGINT) is interrupt and os.getpid() != owner:
            signal.set_wakeup_fd(-1)
            for number in handled:
                signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)

    os.register_at_fork(after_in_child=forked)
    threading.Thread(target=_watch, args=(reading,), name="norsim-interrupts", daemon=True).start()
    try:
        yield
    finally:
        # After a signal, the thread stays until the process has ended.
        if not received:
            signal.set_wakeup_fd(before_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(writing)


def _watch(reading: int) -> None:
    """Wait for a signal, then for the process to end; end it if it does not. Returns once the pipe is closed."""
    with open(reading, "rb", buffering=0) as pipe:
        until = float("inf")
        while True:
            left = None if until == float("inf") else max(until - time.monotonic(), 0.0)
            if not select.select([pipe], [], [], left)[0]:
                break
            number = pipe.read(1)
            if not number:
                return
            if number[0] in SIGNALS:
                if until != float("inf"):
                    break
                until = time.monotonic() + GRACE_SECONDS
    end_now()


def end_now() -> None:
    """Stop all child processes, remove unfinished files, and end the process."""
    for _ in range(2):
        stop_running()
        time.sleep(STARTED_SECONDS)
    if "multiprocessing" in sys.modules:
        import multiprocessing

        for child in multiprocessing.active_children():
            child.kill()
    for path in list(UNFINISHED):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        os.write(2, (SHOW_CURSOR if os.isatty(2) else b"") + b"norsim: interrupted\n")
    os._exit(INTERRUPTED)
