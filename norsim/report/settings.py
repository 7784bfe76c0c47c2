"""How a run can be repeated: command, versions, machine, and where its chip differs from a preset or another run's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from norsim.chip.load import presets, read_yaml
from norsim.errors import NorsimError
from norsim.experiments.run_record import Origin

BASE = "etox65"


@dataclass(frozen=True)
class Setting:
    """A key with two values, as texts; an empty one where it is not set."""

    key: str
    first: str
    second: str


@dataclass(frozen=True)
class Differences:
    """Where a chip differs from the preset named `preset`."""

    preset: str
    settings: tuple[Setting, ...]


def from_preset(origin: Origin) -> Differences:
    """The chip against the preset it was made from, or, for a chip file of the user's own, against etox65."""
    name = Path(str(origin.manifest["chip_file"])).stem
    name = name if name in presets() else BASE
    try:
        preset = read_yaml(presets()[name])
    except NorsimError:
        preset = {}
    return Differences(name, tuple(differing(preset, origin.chip)))


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Setting]:
    """Keys of nested content whose values differ."""
    one, two = flat(first), flat(second)
    keys = dict.fromkeys([*one, *two])
    return [Setting(key, one.get(key, ""), two.get(key, "")) for key in keys if one.get(key) != two.get(key)]


def flat(content: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """`{"a": {"b": 1}}` -> `{"a.b": "1"}`."""
    found: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = str(value)
    return found


def options(origin: Origin) -> dict[str, str]:
    """The command's options that were given or have a default, but for those that the chip shows."""
    shown = {"settings", "chip_name", "encoding"}
    kept = origin.manifest.get("options") or {}
    return {key: str(value) for key, value in kept.items() if key not in shown and str(value) != "None"}
