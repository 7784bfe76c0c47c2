"""The names of the files in a run folder."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

CHECKSUMS, MANIFEST, SUMMARY = "checksums.sha256", "manifest.json", "summary.json"
# Files that differ between a run and its repetition, or are written after the checksums.
UNCHECKED = {CHECKSUMS, "events.jsonl", "timing.json", MANIFEST, SUMMARY}
RESULTS = (
    SUMMARY,
    "timing.json",
    "results.csv",
    "curves.svg",
    "curves.csv",
    "iv.svg",
    "best.yaml",
    "samples.npz",
    "tile.cir",
    ".spiceinit",
    "tile.json",
    "tile.npz",
    "currents.npz",
)
# Further results, which include what `norsim report` writes to a run folder.
RESULT_FILES = ("currents_*.npz", "report.html", "figures/*.svg")
# Other files of commands: records, finished work, and a trained network with its checkpoint.
RECORDS = ("config.resolved.yaml", "events.jsonl", "units", "netlists", "network", "figures", "logs", "currents.raw")
TRAINED = ("card.json", "checkpoint.pt", "log.csv", "weights.safetensors", "float.safetensors", "network.onnx")


def holds_only_ours(folder: Path) -> bool:
    """Return whether all files in a folder have names used by norsim, including half-written files of killed
    processes."""
    ours = (CHECKSUMS, MANIFEST, *RESULTS, *RESULT_FILES, *RECORDS, *TRAINED, ".*.*")
    return all(any(fnmatch(path.name, name) for name in ours) for path in folder.iterdir())


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a run folder; None for any other folder."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
        return found if isinstance(found, dict) and {"command", "norsim", "seed"} <= found.keys() else None
    except (OSError, ValueError):
        return None


def is_ours(folder: Path) -> bool:
    """Return whether a folder was written by a command of norsim: a run, finished or not, or a training."""
    begun = any((folder / name).exists() for name in ("config.resolved.yaml", "network", *TRAINED, "report.html"))
    return manifest_of(folder) is not None or (begun and holds_only_ours(folder))
