"""What happens in a folder, one event a line, with the seconds of its phases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from norsim.files import append_json
from norsim.jobs.phases import Phases

EVENTS = "events.jsonl"


def write_event(folder: Path, what: str, **details: Any) -> None:
    """Append a line to events.jsonl of `folder`. Raises WriteError if the disk fails."""
    stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    append_json(folder / EVENTS, {"time": stamp, "event": what, **details})


@contextmanager
def recording_events(folder: Path, phases: Phases) -> Iterator[None]:
    """Record in `folder` that its work starts or resumes, its phases, also those before, and that it has finished."""
    write_event(folder, "resumed" if (folder / EVENTS).exists() else "started")
    phases.follow(partial(write_event, folder))
    yield
    phases.pause()
    write_event(folder, "finished")
