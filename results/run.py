"""Running a part: its commands, each resumed where it was interrupted, then the small file with its numbers."""

from __future__ import annotations

import base64
import csv
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from norsim.files import make_folder, write_text
from norsim.jobs.machine import processor
from results.inputs import Sources, inputs
from results.part import COMMANDS, ROOT, Part
from results.states import Store, read

INTERRUPTED = 130
# Tables by layer, the list of digital modules and sentences are long, and no page shows them; network and data can be
# paths of the machine, and the part and its commands name both.
LEFT_OUT, LEFT_OUT_ABOVE = ("layers", "assumptions"), ("digital", "macs_digital", "network", "dataset")
NETWORKS = ("float", "quantized", "array")


class PartError(Exception):
    """A command of a part ended with this exit code."""

    def __init__(self, part: Part, code: int) -> None:
        super().__init__(f"{part.name}: {part.shown()[-1]} ended with code {code}")
        self.code = code


def run(part: Part, store: Store, known: Sources) -> None:
    """Measure a part and write its file. A run with the same inputs that was interrupted is resumed.

    Raises PartError if a command fails.
    """
    now, folder = inputs(part, known), store.folder(part)
    started = read(store.started(part))
    resumes = started is not None and started["inputs"] == now
    seconds = started["seconds"] if started is not None and resumes else 0.0
    for place in (store.parts, store.runs):
        make_folder(place)
    for place, words in part.lines(known.places, folder):
        begun = time.monotonic()
        write_text(store.started(part), json.dumps({"inputs": now, "seconds": seconds}) + "\n")
        there = place.is_dir() and any(place.iterdir())
        # Another program measures how long a run takes from its start.
        again = ["--resume"] if resumes and there and part.program == COMMANDS else ["--overwrite"]
        print(f"{part.name}: {' '.join(part.shown())}", file=sys.stderr, flush=True)
        code = 0
        try:
            # A network that a command before wrote is known by what it says about itself.
            code = exit_code([*words, *again])
        except KeyboardInterrupt:
            code = INTERRUPTED
        finally:
            seconds += time.monotonic() - begun
            write_text(store.started(part), json.dumps({"inputs": now, "seconds": seconds}) + "\n")
        if code:
            raise PartError(part, code)
    write_text(store.file(part), json.dumps(content(part, now, folder, seconds), indent=1) + "\n")
    store.started(part).unlink()


def exit_code(words: list[str]) -> int:
    """Run a process to its end; return its exit code."""
    return subprocess.run(words, stdout=subprocess.DEVNULL, check=False, cwd=ROOT).returncode


def content(part: Part, now: dict[str, str | None], folder: Path, seconds: float) -> dict[str, Any]:
    """Return the content of a part's file: its inputs, commands, machine and minutes, and its numbers."""
    machine = f"{processor()}, {os.cpu_count()} cores"
    made = {"norsim": version("norsim"), "machine": machine, "minutes": round(seconds / 60, 2)}
    summary = json.loads((folder / "summary.json").read_text())
    result = shortened({name: value for name, value in summary.items() if name not in LEFT_OUT_ABOVE})
    if (folder / "results.csv").is_file() and "trials" not in result:
        result |= correct(folder / "results.csv")
    return {"part": part.name, "inputs": now, "commands": part.shown(), "made": made, "result": result}


def shortened(summary: Any) -> Any:
    """Return a summary without the tables that no page shows."""
    if not isinstance(summary, dict):
        return summary
    return {name: shortened(value) for name, value in summary.items() if name not in LEFT_OUT}


def correct(table: Path) -> dict[str, Any]:
    """Return which images each network classified correctly, and the number of the first image; nothing of a table
    without labels.

    The images of several parts can be joined, and compared one by one with those of others.
    """
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or "label" not in rows[0]:
        return {}
    right = {name: packed(np.array([row[name] == row["label"] for row in rows])) for name in NETWORKS if rows[0][name]}
    return {"first": int(rows[0]["image"]), "correct": right}


def packed(right: np.ndarray) -> str:
    """Return booleans `[images]` as text, of a bit each."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def unpacked(text: str, images: int) -> np.ndarray:
    """Return the booleans `[images]` that `packed` made a text of."""
    bits = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(bits, count=images).astype(bool)
