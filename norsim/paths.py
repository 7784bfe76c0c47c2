"""Folders of caches, and of the packaged data: beside the package in a checkout, inside an installed wheel; and a hash
of the code."""

from __future__ import annotations

import hashlib
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


def sources_digest(*packages: str) -> str:
    """Return the SHA-256 of the source files of norsim's `packages` such as `spice`; without any, of all."""
    package = Path(__file__).resolve().parent
    folders = [package / name for name in packages] or [package]
    sources = sorted(path for folder in folders for path in folder.rglob("*.py"))
    texts = [part for path in sources for part in (str(path.relative_to(package)).encode(), path.read_bytes())]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


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
