"""Folders of the packaged data: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def _folder(name: str) -> Path:
    package = Path(__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def netlists_folder() -> Path:
    """Return the folder with `cells/` (subcircuits) and `golden/` (reference decks)."""
    return _folder("netlists")


def models_folder() -> Path:
    """Return the folder with `devices/` (model cards), `chips/` (presets) and `networks/` (trained weights)."""
    return _folder("models")
