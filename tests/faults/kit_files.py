"""A cell and its kit as files, with edits, and their current by ngspice alone and by norsim."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fuzz.kit_syntax import CELL, CHIP, KIT, VOLTS, by_hand
from norsim.chip.load import load_chip
from norsim.spice.simulators.ngspice import drain_amps

Edit = tuple[str, str, str]
K, C = "kit.lib", "cell.sp"


def write(
    folder: Path, *edits: Edit, encoding: str = "utf-8", others: Mapping[str, str] = {}, **cell_keys: Any
) -> Path:  # fmt: skip
    """Write the files with each `(file, old, new)` replaced, other files, and the chip file; return its path."""
    texts = {K: KIT, C: CELL}
    for file, old, new in edits:
        assert old in texts[file], old
        texts[file] = texts[file].replace(old, new)
    for name, text in {**texts, **others}.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(text.encode(encoding))
    content = {**CHIP, "cell": {**CHIP["cell"], **cell_keys}}  # type: ignore[dict-item]
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))
    return folder / "mine.yaml"


def by_norsim(chip: Path, trust_cell: bool = False) -> float:
    """Return the current of the cell of a chip file at the volts of `by_hand`, amperes."""
    cell = load_chip(chip, trust_cell=trust_cell).cell
    return float(drain_amps(cell, *(np.array([volts]) for volts in VOLTS))[0])


def same(folder: Path, *edits: Edit, **options: Any) -> float:
    """Check that ngspice alone and norsim have the same current for the files; return it, amperes."""
    chip = write(folder, *edits, **options)
    hand = by_hand(folder)
    assert hand is not None
    np.testing.assert_allclose(by_norsim(chip), hand, rtol=1e-6, atol=1e-14)
    return hand
