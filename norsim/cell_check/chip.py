"""The check of a whole chip file without a network: for each encoding in it, the reach of levels and the converters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from norsim.backends.programming import cell_amps, program_levels
from norsim.cell_check import findings
from norsim.cell_check.findings import Finding
from norsim.chip.load import apply_settings, build_chip
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError, SolveError
from norsim.periphery.encoding import full_scale_amps
from norsim.periphery.registry import ENCODINGS, section_key


def encodings_of(content: dict[str, Any]) -> list[str]:
    """Return the encodings for which a chip file has a section, its own first."""
    own = str(content.get("encoding"))
    there = [name for name in ENCODINGS if content.get(section_key(name)) is not None]
    return sorted(there, key=lambda name: name != own)


def check_chip(content: dict[str, Any], path: Path, trusted: bool = False) -> dict[str, list[Finding]]:
    """Return the findings about a chip file by encoding, those of the file's own encoding first.

    Raises ConfigurationError for keys, units and cell files that cannot be read, and SimulatorError without a
    simulator.
    """
    chips = {
        name: build_chip(apply_settings(content, {"encoding": name}), path, trusted) for name in encodings_of(content)
    }
    return {name: [*_levels(chip), _converters(chip)] for name, chip in chips.items()}


def _levels(chip: Chip) -> list[Finding]:
    """Check that the cell reaches the levels, and that program-verify finds them."""
    encoding, cell = chip.encoding, chip.verify_cell
    count = len(encoding.level_amps)
    try:
        ends = cell_amps(cell, np.array([cell.erased_volts, cell.programmed_volts]), *encoding.verify_volts)
    except SolveError as problem:
        return [Finding("current of an erased cell", None, "", "a current", False, str(problem))]
    found = findings.reach(float(ends[0]), float(ends[1]), encoding)
    if all(one.ok for one in found):
        try:
            return [*found, *findings.levels(program_levels(cell, encoding), encoding)]
        except (ConfigurationError, SolveError) as problem:
            found.append(Finding("levels found", None, "", f"all {count}", False, str(problem)))
    return found


def _converters(chip: Chip) -> Finding:
    """Check that the converters' range is within the currents of a full tile; a fitted range is known only with a
    network."""
    encoding, codes = chip.encoding, 2**chip.adc_bits - 1
    inputs, _ = encoding.capacity(chip.wordlines, chip.bitlines)
    inputs = min(inputs, chip.rows_used or inputs)
    weight_bits = (len(encoding.level_amps) - 1).bit_length()
    bits = encoding.top_drive.bit_length() if encoding.top_drive > 1 else 4
    full = full_scale_amps(encoding, inputs, weight_bits, bits)
    name, step = "converter step", findings.step_amps(encoding)
    if chip.adc_range == "fitted":
        advice = (
            f"the range is fitted to each tile with a network; all of the full scale, {full:.3g} A, would be the most"
        )
        return Finding(name, full / codes / step, "level steps of a cell", advice=advice)
    low, high = (-full, full) if chip.adc_range == "full" else chip.adc_range
    ok = high - low <= 2 * full
    wide = f"the range of {high - low:.3g} A is wider than all currents of a tile, {2 * full:.3g} A: change adc.range"
    return Finding(name, (high - low) / codes / step, "level steps of a cell",
                   f"at most {2 * full / codes / step:.3g}", ok, "" if ok else wide)  # fmt: skip
