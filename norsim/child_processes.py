"""The simulators that run, so that an interrupt can stop them: each has a process group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

# Those that run, and those of them that were stopped because nobody waits for them any more.
RUNNING: set[subprocess.Popen[bytes]] = set()
STOPPED: set[subprocess.Popen[bytes]] = set()


def stop_running() -> None:
    """Stop every simulator that runs; who waits for one finds it in STOPPED."""
    for process in list(RUNNING):
        STOPPED.add(process)
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Whatever it has started goes with it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
