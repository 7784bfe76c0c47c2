"""Running simulators, each in its own process group, so that an interrupt can stop them."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

# Running processes, and those of them that stop_running has stopped.
RUNNING: set[subprocess.Popen[bytes]] = set()
STOPPED: set[subprocess.Popen[bytes]] = set()


def stop_running() -> None:
    """Stop every running simulator and add it to STOPPED, which its caller checks."""
    for process in list(RUNNING):
        STOPPED.add(process)
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and everything that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
