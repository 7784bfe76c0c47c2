"""Folders of caches, and of the packaged data: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

import os
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


def cache_folder() -> Path | None:
    """Return the folder of what runs share: `norsim` in `$XDG_CACHE_HOME`, or in `.cache` of the home folder.

    As the standard (XDG base directories) says, a relative path in the variable is ignored. None if the user has no
    home folder, as some containers' users.
    """
    place = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (place if place.is_absolute() else Path.home() / ".cache") / "norsim"
    except RuntimeError:
        return None
