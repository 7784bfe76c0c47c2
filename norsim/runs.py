"""A run's folder: what was asked, what happened, what came out. Results appear whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from norsim.errors import ConfigurationError

RESULTS = ("summary.json", "results.csv", "samples.npz", "tile.cir", "tile.json", "currents.npz")


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Calls `write` on a temporary file beside `path`, then puts it in place: all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            write(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_atomically` for text."""
    write_atomically(path, lambda file: file.write(text.encode()))


class RunFolder:
    """A folder that one command fills.

        config.resolved.yaml   the chip as it was used
        manifest.json          command line, seed, versions
        events.jsonl           what happened, a line each
        samples.npz            reads that `norsim verify` can solve again
        summary.json, ...      results, written at the end

    Opening it removes the results of an earlier run in the same place, so that none can be taken for
    this run's. Raises ConfigurationError where it cannot be made or written.
    """

    def __init__(self, path: Path, chip: Mapping[str, Any], chip_file: Path, seed: int) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            for old in [*(path / name for name in RESULTS), *path.glob("currents_*.npz")]:
                old.unlink(missing_ok=True)
            write_text(path / "config.resolved.yaml", yaml.safe_dump(dict(chip), sort_keys=False))
            write_text(
                path / "manifest.json", json.dumps({**_manifest(seed), "chip_file": str(chip_file)}, indent=1) + "\n"
            )
            (path / "events.jsonl").unlink(missing_ok=True)
            self.event("started")
        except OSError as problem:
            raise ConfigurationError(f"the run folder {path} cannot be written: {problem.strerror}") from None

    def event(self, what: str, **details: Any) -> None:
        """Append a line to events.jsonl."""
        stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        with open(self.path / "events.jsonl", "a") as log:
            log.write(json.dumps({"time": stamp, "event": what, **details}) + "\n")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, the sign of a finished run."""
        self.event("finished")
        write_text(self.path / "summary.json", json.dumps(summary, indent=1) + "\n")


def _manifest(seed: int) -> dict[str, Any]:
    return {
        "command": ["norsim", *sys.argv[1:]],
        "seed": seed,
        "norsim": version("norsim"),
        "python": platform.python_version(),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def default_folder(command: str) -> Path:
    """`runs/COMMAND-DATE-TIME` under the current folder."""
    return Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"
