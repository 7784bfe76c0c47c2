"""What changed between versions in the meaning of a chip file: renamed keys, and laws that give other numbers.

A key that has another name now is an error that names it, in files and in settings; only the chips of stored runs and
of saved networks are read with the key that all of them had, `bit_serial.zero_point`. A run whose chip uses a law that
changed since is not solved again, because its reads would differ from those that it kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from norsim.errors import ConfigurationError
from norsim.periphery.registry import section_key

RENAMED = {
    "bit_serial.settle": "bit_serial.wordline_rise",
    "bit_serial.zero_point": "mapping.scheme",
    "silicon.cell": "silicon.drift_cell",
    "silicon.die": "silicon.drift_die",
}

# The number of the present laws, recorded with each run; runs of version 0.1 record none.
LAWS = 2
# Keys whose law changed with a number of LAWS, and how.
CHANGED = {
    "silicon.aged": (2, "its spread grows as ln(1 + t / constant), and faster when hot (activation_energy)"),
    "silicon.lost_a_decade": (2, "neutral follows from the cell, and charge is lost faster when hot"),
    "silicon.reading": (2, "noise is drawn for each read, unless reading_drawn is per_chip"),
    "silicon.telegraph_a_decade": (2, "the number of traps of a cell has a Poisson distribution"),
    "silicon.measured": (2, "the cell conducts the table's current at the temperature of reads"),
}


def of_stored_run(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a chip that a run recorded, or that a deployed network was saved with, with
    `mapping.scheme` in the place of `bit_serial.zero_point`.

    Every bit-serial chip had that key, and its values mean the same. Encodings that users derived from bit-serial had
    it in their own sections; that of the selected encoding counts.
    """
    kept, schemes = dict(content), {}
    for name, section in content.items():
        if isinstance(section, Mapping) and "zero_point" in section:
            schemes[name] = section["zero_point"]
            kept[name] = {key: value for key, value in section.items() if key != "zero_point"}
    if schemes:
        of_any = next(iter(schemes.values()))
        kept["mapping"] = {"scheme": schemes.get(section_key(str(content.get("encoding"))), of_any)}
    return kept


def check_renamed(content: Mapping[str, Any], place: str) -> None:
    """Raise ConfigurationError for a renamed key in the content of a chip file, found at `place`."""
    for old, new in RENAMED.items():
        section, _, name = old.rpartition(".")
        below = _value(content, section)
        if isinstance(below, Mapping) and name in below:
            raise ConfigurationError(f"{place}: the key {old} is now {new}; rename it")


def check_setting(key: str, setting: str) -> None:
    """Raise ConfigurationError if `key`, in the text `setting`, is a renamed key or one below it."""
    for old, new in RENAMED.items():
        if f"{key}.".startswith(f"{old}."):
            raise ConfigurationError(f"setting {setting!r}: the key {old} is now {new}; set {new}")


def check_laws(content: Mapping[str, Any], laws: int, place: str) -> None:
    """Raise ConfigurationError if a chip, of the run at `place`, uses a law that is newer than the run's number."""
    for key, (since, how) in CHANGED.items():
        if laws < since and _value(content, key) is not None:
            raise ConfigurationError(
                f"{place}: the law of {key} has changed since this run ({how}), so its reads cannot be solved again; "
                "make the run again"
            )


def _value(content: Any, key: str) -> Any:
    """Return the value of a dotted key; None if it is absent or null."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content
