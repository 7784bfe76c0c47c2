"""The names of the files in a run's folder."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

CHECKSUMS, MANIFEST, SUMMARY = "checksums.sha256", "manifest.json", "summary.json"
# What differs between a run and its repetition, or is written after the checksums.
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
# Results of which there can be several: what `norsim report` writes into a run's folder belongs to that run.
RESULT_FILES = ("currents_*.npz", "report.html", "figures/*.svg")
# What else a command writes: records, finished work, and a trained network with its checkpoint.
RECORDS = ("config.resolved.yaml", "events.jsonl", "units", "netlists", "network", "figures", "logs", "currents.raw")
TRAINED = ("card.json", "checkpoint.pt", "log.csv", "weights.safetensors", "float.safetensors", "network.onnx")


def holds_only_ours(folder: Path) -> bool:
    """Whether everything in a folder has a name that norsim gives, half-written files of killed processes included."""
    ours = (CHECKSUMS, MANIFEST, *RESULTS, *RESULT_FILES, *RECORDS, *TRAINED, ".*.*")
    return all(any(fnmatch(path.name, name) for name in ours) for path in folder.iterdir())


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """The manifest of a run's folder; None for any other folder."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
        return found if isinstance(found, dict) and {"command", "norsim", "seed"} <= found.keys() else None
    except (OSError, ValueError):
        return None


def is_ours(folder: Path) -> bool:
    """Whether a folder was written by a command of norsim: a run, finished or not, or a training."""
    begun = any((folder / name).exists() for name in ("config.resolved.yaml", "network", *TRAINED, "report.html"))
    return manifest_of(folder) is not None or (begun and holds_only_ours(folder))
