"""Commands in processes of their own, forked from a server that has imported norsim, since an import takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([
    "norsim.commands.network.eval_network", "norsim.commands.network.sweep", "norsim.commands.network.attribute",
    "norsim.commands.tile.run_layer", "norsim.commands.shared.progress", "norsim.experiments.experiment",
    "norsim.evaluation.trials", "norsim.saved.post_training",
])  # fmt: skip


class Started:
    """A running command, with the interface of subprocess.Popen; its process leads a group of its own."""

    def __init__(self, words: tuple[str, ...], environment: Mapping[str, str], folder: str, output: str) -> None:
        self._process = CONTEXT.Process(target=_command, args=(words, dict(environment), folder, output))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended. Raises subprocess.TimeoutExpired if it runs longer."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("norsim", timeout or 0)
        return self.returncode


def start(*arguments: object, output: Path | None = None, **environment: str) -> Started:
    """Start `norsim` with these arguments in this folder, with further variables in its environment.

    Its output goes to a file, if at all.
    """
    return Started(tuple(map(str, arguments)), os.environ | environment, os.getcwd(), str(output or os.devnull))


def _command(words: tuple[str, ...], environment: dict[str, str], folder: str, output: str) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(target, stream)
    sys.argv = ["norsim", *words]
    from norsim.commands import main

    main()
