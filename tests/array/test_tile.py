"""Invalid cells, wires, tiles and stimuli raise errors; reads are selected, made distinct and joined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Stimulus, Tile, join
from norsim.array.wires import Wires
from norsim.errors import ConfigurationError


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"erased_volts": 20.0}, "window is empty: erased 20 V must lie below programmed 20 V"),
        ({"erased_volts": float("nan")}, "window is empty"),
        ({"subcircuit": "res"}, "no line '.subckt res d g s b'"),
    ],
)
def test_cell_that_cannot_be_is_refused(resistor_cell: Cell, changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        replace(resistor_cell, **changes)


def test_digest_names_everything_that_decides_the_currents(resistor_cell: Cell) -> None:
    others = [
        replace(resistor_cell, netlist=resistor_cell.netlist + "\n*"),
        replace(resistor_cell, models="* card"),
        replace(resistor_cell, state="vth"),
        replace(resistor_cell, subcircuit="RES_CELL"),
        replace(resistor_cell, temperature_kelvin=300.0),
    ]
    assert len({cell.digest for cell in [resistor_cell, *others]}) == 6
    assert replace(resistor_cell).digest == resistor_cell.digest


@pytest.mark.parametrize("field", ["bitline_ohms", "bitline_end_ohms", "source_ohms", "source_end_ohms"])
@pytest.mark.parametrize("ohms", [-1.0, float("nan"), float("inf")])
def test_impossible_ohms_are_refused_by_name(field: str, ohms: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{field} must be finite and not negative"):
        Wires(**{field: ohms})


@pytest.mark.parametrize("counts", [{"rows_per_source_line": 0}, {"strap_every": 0}])
def test_lines_and_straps_count_from_one(counts: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="rows_per_source_line and strap_every must be at least 1"):
        Wires(**counts)


def test_an_odd_row_has_a_source_line_of_its_own() -> None:
    assert [Wires(rows_per_source_line=2).source_lines(rows) for rows in (1, 2, 3, 4)] == [1, 1, 2, 2]
    assert Wires(rows_per_source_line=1).source_lines(3) == 3


@pytest.mark.parametrize("volts", [-9.3, 29.8])
def test_threshold_outside_the_limits_names_its_cell(resistor_cell: Cell, volts: float) -> None:
    thresholds = np.full((3, 4), 5.0)
    thresholds[1, 2:] = volts
    with pytest.raises(ConfigurationError, match=rf"cell \(1, 2\) is {volts} V.*-9.25 V to 29.75 V.*\(2 such cells\)"):
        Tile(thresholds, resistor_cell, Wires())


def test_the_edges_of_the_window_belong_to_it(resistor_cell: Cell) -> None:
    assert Tile([[0.5, 20.0]], resistor_cell, Wires()).bitlines == 2


@pytest.mark.parametrize("thresholds", [[1.0, 2.0], [[]], [[[1.0]]], [[1.0, np.nan]], [[np.inf]]])
def test_thresholds_of_no_array_are_refused(resistor_cell: Cell, thresholds: object) -> None:
    with pytest.raises(ConfigurationError, match=r"thresholds \[wordlines, bitlines\]"):
        Tile(thresholds, resistor_cell, Wires())  # type: ignore[arg-type]


def test_notes_are_one_a_line_or_none(resistor_cell: Cell) -> None:
    with pytest.raises(ConfigurationError, match="2 notes for 1 lines"):
        Tile([[1.0, 1.0]], resistor_cell, Wires(), wordline_notes=("a", "b"))
    with pytest.raises(ConfigurationError, match="1 notes for 2 lines"):
        Tile([[1.0, 1.0]], resistor_cell, Wires(), bitline_notes=("a",))


def test_thresholds_and_volts_are_read_only_copies(resistor_cell: Cell) -> None:
    thresholds, volts = np.ones((2, 2)), np.zeros((1, 2))
    tile, stimulus = Tile(thresholds, resistor_cell, Wires()), Stimulus(volts, volts)
    thresholds[:], volts[:] = 9, 9
    assert tile.thresholds.max() == 1 and stimulus.wordline_volts.max() == 0
    for array in (tile.thresholds, stimulus.wordline_volts, stimulus.bitline_volts):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_volts_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="2 vectors of wordline volts do not match 3"):
        Stimulus(np.zeros((2, 4)), np.zeros((3, 4)))
    with pytest.raises(ConfigurationError, match="wordline_volts .* not finite"):
        Stimulus([[np.nan]], [[0.0]])
    with pytest.raises(ConfigurationError, match="bitline_volts"):
        Stimulus([[0.0]], [0.0])


@given(
    arrays(float, st.tuples(st.integers(1, 12), st.just(5)), elements=st.sampled_from([0.0, 0.5, 5.0])),
    st.floats(-1, 1),
)
def test_distinct_reads_give_back_all_reads_and_repeat_none(volts: np.ndarray, source: float) -> None:
    stimulus = Stimulus(volts[:, :2], volts[:, 2:], source)
    distinct, places = stimulus.distinct()
    back = distinct.take(places)
    assert np.array_equal(back.wordline_volts, stimulus.wordline_volts)
    assert np.array_equal(back.bitline_volts, stimulus.bitline_volts)
    assert back.source_volts == distinct.source_volts == source
    assert distinct.vectors == len({tuple(row) for row in volts})


@given(arrays(bool, st.tuples(st.integers(1, 12), st.sampled_from([1, 8, 63, 64, 65, 130]))), st.floats(0.1, 1))
def test_distinct_reads_of_two_levels_are_in_the_order_of_their_volts(up: np.ndarray, bitline: float) -> None:
    stimulus = Stimulus(np.where(up, 5.0, -0.5), np.full((len(up), 3), bitline))
    distinct, places = stimulus.distinct()
    ordered, inverse = np.unique(stimulus.wordline_volts, axis=0, return_inverse=True)
    assert np.array_equal(distinct.wordline_volts, ordered)
    assert np.array_equal(places, inverse.reshape(-1))
    assert np.array_equal(distinct.bitline_volts, stimulus.bitline_volts[: len(ordered)])


def test_only_what_nobody_can_write_to_is_shared() -> None:
    own = np.zeros((2, 3))
    own.setflags(write=False)
    assert np.shares_memory(Stimulus(own, own).wordline_volts, own)
    theirs = np.zeros((2, 3))
    view = theirs[:]
    view.setflags(write=False)
    stimulus = Stimulus(view, view)
    theirs[:] = 9
    assert stimulus.wordline_volts.max() == stimulus.bitline_volts.max() == 0
    assert np.shares_memory(stimulus.take(slice(1)).wordline_volts, stimulus.wordline_volts)


def test_join_undoes_taking_apart() -> None:
    random = np.random.default_rng(0)
    whole = Currents(random.random((5, 3)), random.random((5, 2)), random.random(5) > 0.5, random.random(5), "b")
    again = join([whole.take(slice(0, 2)), whole.take(np.array([2])), whole.take(slice(3, 5))])
    for name in ("bitline", "source", "converged", "residual"):
        assert np.array_equal(getattr(again, name), getattr(whole, name))
    assert again.backend == "b"


def test_tiles_of_equal_cells_have_equal_digests(resistor_cell: Cell) -> None:
    volts, wires = np.array([[3.5, 4.0], [4.5, 5.0]]), Wires(0.4, 20.0, 20.0, 0.0)
    one, same = Tile(volts, resistor_cell, wires), Tile(volts.copy(), resistor_cell, wires, name="another")
    others = [Tile(volts - 0.01, resistor_cell, wires), Tile(volts, resistor_cell, wires, gains=np.ones((2, 2)))]
    assert one.digest == same.digest and len({one.digest, *(other.digest for other in others)}) == 3
