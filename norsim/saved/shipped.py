"""Where trained networks are: by name those that come with norsim, by path those of users. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from norsim.errors import DataError, suggestion
from norsim.paths import models_folder

WEIGHTS = "weights.safetensors"


def shipped_networks() -> list[str]:
    """The names of the networks that come with norsim."""
    return sorted(path.parent.name for path in (models_folder() / "networks").glob(f"*/{WEIGHTS}"))


def network_place(folder_or_name: Path | str) -> Path:
    """The folder of a trained network. A string without a path separator is the name of one that comes with norsim.

    Raises DataError, with the closest name, where there is none.
    """
    if isinstance(folder_or_name, Path) or Path(folder_or_name).name != folder_or_name:
        folder = Path(folder_or_name)
    else:
        names = shipped_networks()
        if folder_or_name not in names:
            raise DataError(
                f"no network {folder_or_name!r} comes with norsim; {suggestion(folder_or_name, names)}. "
                f"For your own folder write ./{folder_or_name}"
            )
        folder = models_folder() / "networks" / folder_or_name
    if not (folder / WEIGHTS).is_file():
        raise DataError(
            f"{folder / WEIGHTS} is missing; expected a folder that norsim wrote, with {WEIGHTS} and card.json"
        )
    return folder
