"""What programming pulses made of the cells of a chip, and what they took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from norsim.array.sectors.program_pulses import Programmed
from norsim.tiling.modules import TiledLayer


def programming(layers: Mapping[str, TiledLayer]) -> dict[str, Any] | None:
    """Return the result of programming the layers of a chip one after the other; None for a chip without pulses.

    `cells` were programmed with `pulses` pulses in all, at most `most_pulses` each. `low` and `high` of them are below
    and above their window, and `failed_share` is the share of both. `unverified` got all pulses of the chip, and no
    verify found them at their level; some of them may be in the window. `seconds` and `joules` are those of pulses and
    verifies, without the erase. `layers` has the same of each layer.
    """
    found = {name: [one.pulsed for one in layer.grid.arrays if one.pulsed] for name, layer in layers.items()}
    if not any(found.values()):
        return None
    rows = [{"name": name, **_total(parts)} for name, parts in found.items() if parts]
    return {**_total(part for parts in found.values() for part in parts), "layers": rows}


def _total(parts: Iterable[Programmed]) -> dict[str, Any]:
    known = list(parts)
    cells = sum(part.pulses.size for part in known)
    low, high = sum(part.low for part in known), sum(part.high for part in known)
    return {
        "cells": cells, "pulses": sum(int(part.pulses.sum()) for part in known),
        "most_pulses": max(int(part.pulses.max()) for part in known), "low": low, "high": high,
        "failed_share": (low + high) / cells, "unverified": sum(part.unverified for part in known),
        "seconds": sum(part.seconds for part in known), "joules": sum(part.joules for part in known),
    }  # fmt: skip


def in_words(found: Mapping[str, Any]) -> str:
    """Return the result as a sentence, without units of time and energy, which follow it."""
    said = (
        f"{found['cells']:,} cells took {found['pulses'] / found['cells']:.1f} pulses on average, at most "
        f"{found['most_pulses']}; {100 * found['failed_share']:.3g} % of them are not in their window"
    )
    if found["low"] or found["high"]:
        said += f" ({found['low']:,} below, {found['high']:,} above)"
    if found["unverified"]:
        said += f", and {found['unverified']:,} ran out of pulses"
    return said
