"""The folder of a run: its options, events and results. Each file is written completely or not at all."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from norsim.chip.renamed import LAWS
from norsim.configuration.strict_yaml import yaml_text
from norsim.errors import ConfigurationError, WriteError
from norsim.experiments.run_files import CHECKSUMS, KEPT, KEPT_FOLDERS, MANIFEST, SUMMARY, UNCHECKED, UNCHECKED_FOLDERS
from norsim.files import write_text
from norsim.folders.lock import process_at_work
from norsim.folders.output import OutputFolder
from norsim.folders.record import written
from norsim.jobs.events import EVENTS, write_event
from norsim.jobs.machine import processor
from norsim.jobs.phases import Phases
from norsim.jobs.unit_store import UnitStore, broken_units, checksum_line, shared_units, unit_files


class RunFolder:
    """The folder of one run of a command.

        config.resolved.yaml   the chip with all settings applied
        manifest.json          command line, options, checks, seed, versions, machine
        events.jsonl           events, one per line
        units/                 finished work, from which a run is resumed (norsim.jobs.unit_store)
        samples.npz            reads that `norsim verify` can solve again
        summary.json, ...      results, written at the end
        checksums.sha256       checksums of all results and of the manifest, in the format of `sha256sum`
        timing.json            seconds of run and phases: the only difference between a run and its repetition
        written.jsonl          the files that norsim wrote here, the only ones it deletes (norsim.folders.record)

    Opening it deletes the results of an earlier run in the same place, so that they cannot be mistaken for those of
    this run; `resume` keeps the units of an interrupted run. It deletes only files that norsim recorded. Raises
    ConfigurationError if the run to resume is another one, with other `options` or another chip, and WriteError if the
    folder cannot be written. A run is resumed only on its `device`, named by norsim.quantization.forward.device_name.
    `checks` are bounds on the finished result, such as `tolerance` and `min_accuracy`; None for one that was not given.
    They may differ in a resumed run.
    """

    def __init__(
        self,
        output: OutputFolder,
        chip: Mapping[str, Any],
        chip_file: Path,
        seed: int,
        options: Mapping[str, str] | None = None,
        resume: bool = False,
        shared: bool = False,
        checks: Mapping[str, float | None] | None = None,
        device: str = "cpu",
    ) -> None:
        self.output, self.path = output, output.path
        self._phases: Phases | None = None
        path = self.path
        folder = shared_units() if shared else None
        self.units = UnitStore((path / "units",) if folder is None else (path / "units", folder))
        resolved, manifest = yaml_text(dict(chip)), _manifest(seed)
        manifest |= {"chip_file": str(chip_file), "options": dict(options or {}), "checks": dict(checks or {})}
        manifest["device"] = device
        resumed = resume and (path / MANIFEST).is_file()
        if resumed:
            # The record of the first start, with the bounds of this one.
            manifest = _check_same(path, manifest, resolved) | {"checks": manifest["checks"]}
            output.sweep()
            output.clear(lambda name: name not in KEPT and name.partition("/")[0] not in KEPT_FOLDERS)
        else:
            output.clear()
            write_text(path / "config.resolved.yaml", resolved)
        write_text(path / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        self.event("resumed" if resumed else "started")

    def follow(self, phases: Phases) -> None:
        """Record the start and the seconds of each phase, also of those before the folder was opened."""
        self._phases = phases
        phases.follow(self.event)

    def event(self, what: str, **details: Any) -> None:
        """Append a line to events.jsonl. Raises WriteError if the disk fails."""
        write_event(self.path, what, **details)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, which marks a finished run; its seconds go to timing.json instead, with those of each
        phase, of all starts of the run. Let others write."""
        result = {key: value for key, value in summary.items() if key != "seconds"}
        if self._phases is not None:
            self._phases.pause()
        timing = {"seconds": summary.get("seconds"), "phases": phase_seconds(self.path)}
        write_text(self.path / "timing.json", json.dumps(timing, indent=1) + "\n")
        text = json.dumps(result, indent=1) + "\n"
        lines = [_line(self.path, name) for name in _checked(self.path)]
        write_text(self.path / CHECKSUMS, "".join([*lines, checksum_line("summary.json", text.encode())]))
        write_text(self.path / SUMMARY, text)
        self.event("finished")
        self.output.release()


def _checked(run: Path) -> list[str]:
    """Return the files of a run that have a checksum, relative to it."""
    names = [name for name in written(run) if name not in UNCHECKED and name.partition("/")[0] not in UNCHECKED_FOLDERS]
    return sorted(name for name in names if (run / name).is_file())


def _line(run: Path, name: str) -> str:
    """Return the checksum line of a file of a run. Raises WriteError if it cannot be read back."""
    try:
        return checksum_line(name, (run / name).read_bytes())
    except OSError as problem:
        raise WriteError(
            f"{run / name} cannot be read back for its checksum: {problem.strerror}; resume the run"
        ) from None


def phase_seconds(run: Path) -> dict[str, float]:
    """Return the seconds of each phase of a run, over all of its starts, from events.jsonl."""
    found: dict[str, float] = {}
    for line in (run / EVENTS).read_text(errors="replace").splitlines():
        # A killed run may have left half a line.
        with suppress(ValueError, KeyError, TypeError):
            event = json.loads(line)
            if event["event"] == "phase ended":
                found[event["phase"]] = round(found.get(event["phase"], 0.0) + event["seconds"], 3)
    return found


def run_folders(folder: Path) -> list[Path]:
    """Return the run folders in a folder, including itself and all folders below."""
    return sorted(path.parent for path in folder.rglob(MANIFEST) if _is_manifest(path))


def _is_manifest(path: Path) -> bool:
    """Return whether a file is a manifest of norsim; other programs have files of that name."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"command", "started", "norsim"} <= content.keys()


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
            "state": "finished" if finished else "running" if process_at_work(run) else "interrupted",
            "accuracy": summary.get("accuracy"),
            "started": manifest["started"],
            "units": sum(path.suffix == ".parquet" for path in unit_files(run / "units")),
            "bytes": sum(map(_size, run.rglob("*"))),
        }
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise ConfigurationError(f"{run} is not a run folder: it has no readable manifest.json") from None


def _size(path: Path) -> int:
    """Return the size of a file; 0 for folders and for files that a process at work has just removed."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def damaged(run: Path) -> list[Path]:
    """Return the results and units of a run that are damaged or missing, and its checksums if lines are missing."""
    found = broken_units(run / "units")
    try:
        lines = (run / CHECKSUMS).read_text().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        return [*found, run / CHECKSUMS] if (run / "summary.json").exists() else found
    covered = set(map(_name, lines))
    # A report can be written later.
    if not {*_checked(run), SUMMARY} - {"report.html"} <= covered:
        found.append(run / CHECKSUMS)
    return [*found, *(run / _name(line) for line in lines if not _matches(run, line))]


def _name(line: str) -> str:
    return line.partition("  ")[2].rstrip("\n")


def _matches(run: Path, line: str) -> bool:
    """Return whether a file of a run has the checksum in a line; a name outside the run has not."""
    name = PurePosixPath(_name(line))
    try:
        return not name.is_absolute() and ".." not in name.parts and _line(run, str(name)) == line
    except WriteError:
        return False


def _check_same(path: Path, manifest: Mapping[str, Any], chip: str) -> dict[str, Any]:
    """Return the manifest of the run in `path`. Raises ConfigurationError if that is another run than this one."""
    try:
        before: dict[str, Any] = json.loads((path / "manifest.json").read_text())
        known = {
            "chip": (path / "config.resolved.yaml").read_text(), "norsim": before["norsim"],
            "laws": before.get("laws"), "device": before.get("device", "cpu"), **before["options"],
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"{path} is not the folder of an interrupted run, so it cannot be resumed; start a new run"
        ) from None
    now = {
        "chip": chip, "norsim": manifest["norsim"], "laws": manifest["laws"], "device": manifest["device"],
        **manifest["options"],
    }  # fmt: skip
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
