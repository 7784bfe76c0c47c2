"""The comparison with published macros: one prediction again, and the page as the command writes it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.macros import PAGE, RESULTS, comparison, gap, predicted, tables
from benchmarks.published import JIN, MACROS, MYTHIC, SLOWER

FOUND = json.loads(RESULTS.read_text())


def test_the_page_is_what_the_command_writes() -> None:
    assert list(FOUND) == [macro.name for macro in MACROS]
    assert tables(FOUND) in PAGE.read_text()


def test_a_prediction_is_what_it_was() -> None:
    found = predicted(JIN)
    for kind in ("joules", "areas"):
        assert found[kind] == pytest.approx(FOUND[JIN.name][kind], rel=1e-6)
    assert found["seconds"] == pytest.approx(8 * 52e-9) == FOUND[JIN.name]["seconds"]


def test_published_numbers_per_operation() -> None:
    """20 nJ for 50,816 products, 20 TOPS/W, 7 fJ, 0.5 pJ per product, 21.4 mW at 0.16 TOPS."""
    energies = [macro.femtojoules for macro in MACROS]
    assert energies == pytest.approx([20e6 / 101632, 50, 7, 250, 250, 21.4 / 0.16], rel=1e-3)


def test_what_is_counted_and_what_is_missing_by_hand() -> None:
    """Two outputs of four inputs are 16 operations: 32 fJ of 50 fJ are counted, 2 fJ each."""
    macro = replace(MYTHIC, layers=(4, 2), femtojoules=3.0, left_out=("buffers",), square_millimetres=2.0)
    found = {
        "joules": {"cells": 30e-15, "lines": 2e-15, "buffers": 18e-15},
        "areas": {"cells": 1e-6, "buffers": 5e-6},
        "seconds": 4e-9,
    }
    _, published, every, counted, ratio, area, predicted_area = comparison(macro, found)
    assert (published, every, counted) == ("3 fJ", "3.12 fJ", "2 fJ")
    assert ratio == "0.67 ×, within 2 ×" and (area, predicted_area) == ("2 mm²", "1 mm²")
    # 1 fJ x 16 operations over 2 outputs, in 4 ns.
    assert gap(macro, found)[1:4] == ["+1 fJ", "+0.008 pJ", "+2 µW"]
    assert comparison(replace(macro, femtojoules=5.0), found)[4] == "0.4 ×, **apart**"
    assert comparison(replace(macro, hindsight=True), found)[4] == "0.67 ×, not counted"
    assert SLOWER.hindsight and not MYTHIC.hindsight
