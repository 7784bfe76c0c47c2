"""What is known of a part before it is measured: whether its numbers are there, and how long it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from norsim.errors import NorsimError
from norsim.files import write_text
from results.inputs import Sources, changed, inputs
from results.part import COMMANDS, ROOT, Part

DONE, STALE, INTERRUPTED, MISSING, UNKNOWN = "done", "stale", "interrupted", "missing", "not possible"
# The largest ratio of the time taken to that of the dry run that docs/performance.md has.
FACTOR = 1.64
RECORDED, ESTIMATED, UNPREDICTED = "as last time", f"{FACTOR:g} x --dry-run", "not known"


@dataclass(frozen=True)
class Store:
    """Where parts are kept: one small file each in `parts`, and their runs in `runs`."""

    parts: Path = ROOT / "results" / "parts"
    runs: Path = ROOT / "runs" / "results"

    def file(self, part: Part) -> Path:
        """Return the file with a part's numbers."""
        return self.parts / f"{part.name}.json"

    def folder(self, part: Part) -> Path:
        """Return the folder of its run."""
        return self.runs / part.name

    def started(self, part: Part) -> Path:
        """Return the record of the run that has been started: its inputs, and the seconds that it has taken."""
        return self.runs / f"{part.name}.started.json"

    def estimate(self, part: Part) -> Path:
        """Return the record of its dry run."""
        return self.runs / f"{part.name}.estimate.json"

    def kept(self, part: Part) -> dict[str, Any] | None:
        """Return the content of a part's file; None if there is none."""
        return read(self.file(part))


def read(path: Path) -> dict[str, Any] | None:
    """Return a JSON file's content; None if there is none."""
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@dataclass(frozen=True)
class State:
    """Whether a part is done, what changed since, or why it is not possible; and its predicted minutes, with `how`."""

    kind: str
    minutes: float | None
    how: str
    why: list[str] = field(default_factory=list)

    @property
    def wanted(self) -> bool:
        """Whether it can be measured and has not been."""
        return self.kind in (STALE, INTERRUPTED, MISSING)

    def words(self) -> str:
        """Return the state with its reasons."""
        if self.kind == STALE:
            return f"stale: {', '.join(self.why)} changed"
        return f"{self.kind}: {'; '.join(self.why)}" if self.why else self.kind


def state_of(part: Part, store: Store, known: Sources) -> State:
    """Return the state of a part."""
    kept = store.kept(part)
    minutes, how = predicted(part, store, kept)
    try:
        now = inputs(part, known)
    except NorsimError as problem:
        return State(UNKNOWN, minutes, how, [str(problem)])
    differs = [] if kept is None else changed(now, kept["inputs"])
    if kept is not None and not differs:
        return State(DONE, minutes, how)
    lacking = [f"needs --{name} DIR" for name in part.needs() if known.places.words()[name] is None]
    if lacking and kept is None:
        return State(UNKNOWN, minutes, how, lacking)
    started = read(store.started(part))
    if started is not None and started["inputs"] == now:
        left = None if minutes is None else max(minutes - started["seconds"] / 60, 0.0)
        return State(INTERRUPTED, left, how)
    return State(MISSING if kept is None else STALE, minutes, how, differs)


def predicted(part: Part, store: Store, kept: dict[str, Any] | None) -> tuple[float | None, str]:
    """Return how many minutes a part takes, and where that is from: the last time, or else a dry run."""
    if kept is not None:
        return kept["made"]["minutes"], RECORDED
    estimate = read(store.estimate(part))
    if estimate is None or estimate["commands"] != part.commands():
        return None, UNPREDICTED
    return FACTOR * estimate["seconds"] / 60, ESTIMATED


def dry_run(part: Part, store: Store, known: Sources) -> None:
    """Measure by a dry run how long a part takes, and keep it; nothing is kept if there is no such dry run.

    The command before the last one, if any, is left out.
    """
    left_out = {word for option, value in pairwise(part.options) if "{before}" in value for word in (option, value)}
    alone = replace(part, before=(), options=tuple(word for word in part.options if word not in left_out))
    if part.program != COMMANDS:
        return
    ((_, words),) = alone.lines(known.places, store.folder(part))
    line = [*words[: words.index("--out")], "--quiet", "--dry-run", "--json"]
    print(f"dry run of {part.name}", file=sys.stderr, flush=True)
    ended = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    if ended.returncode == 0:
        seconds = json.loads(ended.stdout)["seconds"]
        write_text(store.estimate(part), json.dumps({"commands": part.commands(), "seconds": seconds}) + "\n")
