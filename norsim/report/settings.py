"""Differences of a run's settings from a preset, or from another run's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from norsim.chip.load import presets
from norsim.configuration.strict_yaml import read_yaml
from norsim.errors import NorsimError
from norsim.experiments.run_record import Origin

BASE = "etox65"


@dataclass(frozen=True)
class Setting:
    """A key with its value in each of several places, as text; empty if not set."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Differences:
    """Differences of a chip from the preset named `preset`."""

    preset: str
    settings: tuple[Setting, ...]


def from_preset(origin: Origin) -> Differences:
    """Compare the chip with its preset or, for a user-supplied chip file, with etox65."""
    name = Path(str(origin.manifest["chip_file"])).stem
    name = name if name in presets() else BASE
    try:
        preset = read_yaml(presets()[name])
    except NorsimError:
        preset = {}
    return Differences(name, tuple(differing(preset, origin.chip)))


def differing(*contents: Mapping[str, Any]) -> list[Setting]:
    """Return the keys of nested contents whose values differ."""
    flattened = [flat(content) for content in contents]
    keys = dict.fromkeys(key for one in flattened for key in one)
    return [
        Setting(key, tuple(one.get(key, "") for one in flattened))
        for key in keys
        if len({one.get(key) for one in flattened}) > 1
    ]


def flat(content: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Flatten `{"a": {"b": 1}}` to `{"a.b": "1"}`."""
    found: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = str(value)
    return found


def options(origin: Origin) -> dict[str, str]:
    """Return the command's options that have a value, except for those visible in the chip."""
    shown = {"settings", "chip_name", "encoding"}
    kept = origin.manifest.get("options") or {}
    return {key: str(value) for key, value in kept.items() if key not in shown and str(value) != "None"}
