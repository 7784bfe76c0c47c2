"""The folder of a run: its options, events and results. Each file is written completely or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from norsim.chip.renamed import LAWS
from norsim.configuration.strict_yaml import yaml_text
from norsim.errors import ConfigurationError
from norsim.experiments.run_files import CHECKSUMS, RESULT_FILES, RESULTS, UNCHECKED
from norsim.files import half_written, write_text
from norsim.jobs.unit_store import UnitStore, broken_units, checksum_line, shared_units, unit_files


class RunFolder:
    """The folder of one run of a command.

        config.resolved.yaml   the chip with all settings applied
        manifest.json          command line, options, checks, seed, versions, machine
        events.jsonl           events, one per line
        units/                 finished work, from which a run is resumed (norsim.jobs.unit_store)
        samples.npz            reads that `norsim verify` can solve again
        summary.json, ...      results, written at the end
        checksums.sha256       checksums of all results, in the format of `sha256sum`
        timing.json            duration in seconds: the only difference between a run and its repetition

    Opening it removes the results of an earlier run in the same place, so that they cannot be mistaken for those of
    this run; `resume` keeps the units of an interrupted run. Raises ConfigurationError if the folder cannot be created
    or written, or if the run to resume is another one, with other `options` or another chip. `checks` are bounds on the
    finished result, such as `tolerance` and `min_accuracy`; None for one that was not given. They may differ in a
    resumed run.
    """

    def __init__(
        self,
        path: Path,
        chip: Mapping[str, Any],
        chip_file: Path,
        seed: int,
        options: Mapping[str, str] | None = None,
        resume: bool = False,
        shared: bool = False,
        checks: Mapping[str, float | None] | None = None,
    ) -> None:
        self.path = path
        self.units = UnitStore((path / "units", *([shared_units()] if shared else [])))
        resolved, manifest = yaml_text(dict(chip)), _manifest(seed)
        manifest |= {"chip_file": str(chip_file), "options": dict(options or {}), "checks": dict(checks or {})}
        try:
            resumed = resume and (path / "manifest.json").is_file()
            if resumed:
                # The record of the first start, with the bounds of this one.
                manifest = _check_same(path, manifest, resolved) | {"checks": manifest["checks"]}
            path.mkdir(parents=True, exist_ok=True)
            left = [found for folder in (path, *path.glob("units/*")) for found in half_written(folder)]
            results = (found for pattern in RESULT_FILES for found in path.glob(pattern))
            for old in [*(path / name for name in (*RESULTS, CHECKSUMS)), *results, *left]:
                old.unlink(missing_ok=True)
            if not resumed:
                self.units.clear()
                (path / "events.jsonl").unlink(missing_ok=True)
                write_text(path / "config.resolved.yaml", resolved)
            write_text(path / "manifest.json", json.dumps(manifest, indent=1) + "\n")
            self.event("resumed" if resumed else "started")
            self._release_lock = weakref.finalize(self, _locked(path / "events.jsonl").close)
        except OSError as problem:
            raise ConfigurationError(f"the run folder {path} cannot be written: {problem.strerror}") from None

    def event(self, what: str, **details: Any) -> None:
        """Append a line to events.jsonl."""
        stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        with open(self.path / "events.jsonl", "a") as log:
            log.write(json.dumps({"time": stamp, "event": what, **details}) + "\n")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, which marks a finished run; its seconds go to timing.json instead."""
        result = {key: value for key, value in summary.items() if key != "seconds"}
        write_text(self.path / "timing.json", json.dumps({"seconds": summary.get("seconds")}, indent=1) + "\n")
        text = json.dumps(result, indent=1) + "\n"
        kept = [path for path in sorted(self.path.iterdir()) if path.is_file() and path.name not in UNCHECKED]
        lines = [checksum_line(path.name, path.read_bytes()) for path in kept]
        write_text(self.path / CHECKSUMS, "".join([*lines, checksum_line("summary.json", text.encode())]))
        write_text(self.path / "summary.json", text)
        self.event("finished")
        self._release_lock()


def _locked(events: Path) -> TextIO:
    """Open and lock a file until its run finishes or its process ends; `is_running` tests the lock."""
    held = open(events)  # noqa: SIM115 (open until the run finishes)
    # Some network file systems have no locks; a running run then looks like an interrupted one.
    with suppress(OSError):
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return held


def is_running(run: Path) -> bool:
    """Return whether a process on this machine is working in a run folder."""
    try:
        with open(run / "events.jsonl") as events:
            fcntl.flock(events, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def run_folders(folder: Path) -> list[Path]:
    """Return the run folders in a folder, including itself and all folders below."""
    return sorted(path.parent for path in folder.rglob("manifest.json"))


def describe(run: Path) -> dict[str, Any]:
    """Return the description of a run: `run command network state accuracy started units bytes`.

    Raises ConfigurationError for any other folder.
    """
    try:
        manifest = json.loads((run / "manifest.json").read_text())
        finished = (run / "summary.json").is_file()
        summary = json.loads((run / "summary.json").read_text()) if finished else {}
        return {
            "run": str(run),
            # Empty if a user's program made the run.
            "command": "".join(map(str, manifest["command"][1:2])),
            "network": str(summary.get("network") or manifest.get("options", {}).get("network", "")),
            "state": "finished" if finished else "running" if is_running(run) else "interrupted",
            "accuracy": summary.get("accuracy"),
            "started": manifest["started"],
            "units": sum(path.suffix == ".parquet" for path in unit_files(run / "units")),
            "bytes": sum(path.stat().st_size for path in run.rglob("*") if path.is_file()),
        }
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise ConfigurationError(f"{run} is not a run folder: it has no readable manifest.json") from None


def damaged(run: Path) -> list[Path]:
    """Return the results and units of a run that are damaged or missing."""
    found = broken_units(run / "units")
    try:
        lines = (run / CHECKSUMS).read_text().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        return [*found, run / CHECKSUMS] if (run / "summary.json").exists() else found
    for line in lines:
        path = run / Path(line.partition("  ")[2].rstrip("\n")).name
        if not path.is_file() or checksum_line(path.name, path.read_bytes()) != line:
            found.append(path)
    return found


def _check_same(path: Path, manifest: Mapping[str, Any], chip: str) -> dict[str, Any]:
    """Return the manifest of the run in `path`. Raises ConfigurationError if that is another run than this one."""
    try:
        before: dict[str, Any] = json.loads((path / "manifest.json").read_text())
        known = {
            "chip": (path / "config.resolved.yaml").read_text(), "norsim": before["norsim"],
            "laws": before.get("laws"), **before["options"],
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"{path} is not the folder of an interrupted run, so it cannot be resumed; start a new run"
        ) from None
    now = {"chip": chip, "norsim": manifest["norsim"], "laws": manifest["laws"], **manifest["options"]}
    other = sorted(key for key in known.keys() | now.keys() if known.get(key) != now.get(key))
    if other:
        was, now_is = (f"{values.get(other[0])}" for values in (known, now))
        change = f": it was {was!r} and is {now_is!r}" if other[0] != "chip" else ""
        raise ConfigurationError(
            f"the run in {path} cannot be resumed: it differs in {', '.join(other)}{change}. Resume it with its "
            "original options, or start a new run"
        )
    return before


def _manifest(seed: int) -> dict[str, Any]:
    return {
        "command": ["norsim", *sys.argv[1:]],
        "seed": seed,
        "norsim": version("norsim"),
        "laws": LAWS,
        "python": platform.python_version(),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
    }


def processor() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def default_folder(command: str) -> Path:
    """Return `runs/COMMAND-DATE-TIME` under the current folder."""
    return Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"
