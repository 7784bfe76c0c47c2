"""The names of columns in files of measured curves, and numbers in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from norsim.errors import DataError

# Names of what a column holds, in lower case without underscores.
NAMES = {
    "gate": ("vg", "vgs", "gate", "gatevolts"),
    "drain": ("vd", "vds", "drain", "drainvolts"),
    "source": ("vs", "source", "sourcevolts"),
    "bulk": ("vb", "vbs", "bulk", "bulkvolts"),
    "amps": ("id", "ids", "amps", "drainamps"),
    "state": ("state",),
    "kelvin": ("temperaturekelvin", "tempk"),
    "celsius": ("temperaturecelsius", "temperature", "temp"),
}
LARGEST_BYTES = 64 << 20


def quantity_of(name: str) -> str | None:
    """Return what a column of that name holds, a key of NAMES; None for a column that is not used."""
    plain = name.strip().lower().replace("_", "")
    return next((quantity for quantity, names in NAMES.items() if plain in names), None)


def places(names: Sequence[str], where: str) -> dict[str, int]:
    """Return the place of each used column by what it holds. Raises DataError if two hold the same."""
    found: dict[str, int] = {}
    for place, name in enumerate(names):
        quantity = quantity_of(name)
        if quantity in found:
            raise DataError(
                f"{where}: the columns {names[found[quantity]]!r} and {name!r} both are the {meaning(quantity)}; "
                "expected one of them. Remove or rename the other"
            )
        if quantity is not None:
            found[quantity] = place
    return found


def meaning(quantity: str) -> str:
    """Return what a column is, with the names that it can have."""
    words = {"amps": "drain current", "state": "state", "kelvin": "temperature", "celsius": "temperature"}
    return words.get(quantity, f"{quantity} voltage")


def require(found: Iterable[str], wanted: Iterable[str], where: str, names: Sequence[str]) -> None:
    """Raise DataError for the first of the `wanted` quantities that is not `found` among columns called `names`."""
    for quantity in wanted:
        if quantity not in found:
            known = ", ".join(NAMES[quantity][:2])
            raise DataError(
                f"{where}: no column for the {meaning(quantity)}, among {', '.join(names)}. Name one of {known}"
            )


def number(text: str, name: str, where: str) -> float:
    """Return a finite number. Raises DataError for any other text."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise DataError(f"{where}: {name.strip() or 'a column'} is {text.strip()!r}; expected a finite number")
    return value


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file. Raises DataError if it cannot be read, is no text, or is very large."""
    try:
        if path.is_file() and path.stat().st_size > LARGEST_BYTES:
            raise DataError(f"{path} has {path.stat().st_size:,} bytes; expected at most {LARGEST_BYTES:,}")
        return path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as problem:
        raise DataError(f"{path} is not text in UTF-8: {problem.reason} at byte {problem.start}") from None
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror or problem}") from None
