"""Tiles small enough to be solved without norsim: by a scalar equation, a hand-written matrix, a dense nodal matrix."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import brentq

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.programming import cell_amps
from norsim.backends.registry import read
from norsim.chip.load import load_chip

NO_LOSS = Wires(strap_every=1)


@pytest.fixture(scope="module")
def flash_cell() -> Cell:
    return load_chip("etox65").cell


def one_cell(cell: Cell, threshold: float, gate: float, source: float) -> Callable[[float, float], float]:
    """Return the I-V law of a cell in ngspice: (drain volts, rise of the source in volts) -> amperes."""

    def amps(drain: float, lift: float) -> float:
        stimulus = Stimulus([[gate]], [[drain]], source + lift)
        return float(read(Tile([[threshold]], cell, NO_LOSS), stimulus).bitline[0, 0])

    return amps


# With straps, the one cell has a segment and a contact on both sides; sensed, only the sense resistance.
@pytest.mark.parametrize(("strap_every", "source_ohms"), [(16, (20e3 + 10e3) / 2), (None, 10e3)])
@pytest.mark.parametrize("source_volts", [0.0, 0.1])
def test_one_cell_meets_the_scalar_equation(
    flash_cell: Cell, strap_every: int | None, source_ohms: float, source_volts: float
) -> None:
    wires = Wires(7e3, 30e3, 20e3, 10e3, 1, strap_every)
    law = one_cell(flash_cell, 3.9, 5.0, source_volts)
    unloaded = law(0.5, 0.0)
    expected = brentq(
        lambda amps: law(0.5 - 30e3 * amps, source_ohms * amps) - amps, 0.0, unloaded, xtol=1e-20, rtol=1e-12
    )
    found = read(Tile([[3.9]], flash_cell, wires), Stimulus([[5.0]], [[0.5]], source_volts))
    assert found.bitline[0, 0] == pytest.approx(expected, rel=1e-6)
    assert found.source[0, 0] == pytest.approx(expected, rel=1e-6)
    assert expected < 0.9 * unloaded  # the wires matter


def test_two_by_two_resistors_meet_the_matrix_written_by_hand(resistor_cell: Cell) -> None:
    """One source line per wordline, sensed next to bitline 0 at 0.2 V; b..: bitline nodes, s..: source nodes."""
    thresholds = np.array([[1.0, 2.0], [5.0, 0.7]])
    gb, ge, gs, gc = 1 / 11e3, 1 / 4e3, 1 / 7e3, 1 / 3e3
    (g00, g01), (g10, g11) = 1 / (1e5 * thresholds)
    matrix = np.array([
        # b00           b10      b01           b11      s00           s01      s10           s11
        [ge + gb + g00, -gb,     0,            0,       -g00,         0,       0,            0       ],
        [-gb,           gb + g10, 0,           0,       0,            0,       -g10,         0       ],
        [0,             0,       ge + gb + g01, -gb,    0,            -g01,    0,            0       ],
        [0,             0,       -gb,          gb + g11, 0,           0,       0,            -g11    ],
        [-g00,          0,       0,            0,       gc + gs + g00, -gs,    0,            0       ],
        [0,             0,       -g01,         0,       -gs,          gs + g01, 0,           0       ],
        [0,             -g10,    0,            0,       0,            0,       gc + gs + g10, -gs    ],
        [0,             0,       0,            -g11,    0,            0,       -gs,          gs + g11],
    ])  # fmt: skip
    bitline_volts = np.array([[0.5, 0.3], [0.0, 0.4]])
    currents = read(
        Tile(thresholds, resistor_cell, Wires(11e3, 4e3, 7e3, 3e3, 1, None)),
        Stimulus(np.zeros((2, 2)), bitline_volts, 0.2),
    )
    for vector, (v0, v1) in enumerate(bitline_volts):
        b00, _, b01, _, s00, _, s10, _ = np.linalg.solve(matrix, [ge * v0, 0, ge * v1, 0, gc * 0.2, 0, gc * 0.2, 0])
        bitline, source = [ge * (v0 - b00), ge * (v1 - b01)], [gc * (s00 - 0.2), gc * (s10 - 0.2)]
        assert currents.bitline[vector] == pytest.approx(bitline, rel=1e-8)
        assert currents.source[vector] == pytest.approx(source, rel=1e-8)


class Network:
    """Modified nodal analysis of resistors and volt sources with a dense matrix; node `0` is ground."""

    def __init__(self) -> None:
        self.resistors: list[tuple[str, str, float]] = []
        self.sources: list[tuple[str, str, float]] = []

    def wire(self, a: str, b: str, ohms: float) -> None:
        if ohms:
            self.resistors.append((a, b, ohms))
        else:
            self.source(a, b, 0.0)

    def source(self, plus: str, minus: str, volts: float) -> int:
        """Return the index of its current, from plus through the source to minus, in the result of `solve`."""
        self.sources.append((plus, minus, volts))
        return len(self.sources) - 1

    def solve(self) -> np.ndarray:
        branches = [*self.resistors, *self.sources]
        nodes = {name: k for k, name in enumerate(sorted({end for a, b, _ in branches for end in (a, b)} - {"0"}))}
        matrix = np.zeros((len(nodes) + len(self.sources),) * 2)
        right = np.zeros(len(matrix))
        for a, b, ohms in self.resistors:
            for here, there in ((a, b), (b, a)):
                if here != "0":
                    matrix[nodes[here], nodes[here]] += 1 / ohms
                    if there != "0":
                        matrix[nodes[here], nodes[there]] -= 1 / ohms
        for k, (plus, minus, volts) in enumerate(self.sources, start=len(nodes)):
            right[k] = volts
            for end, sign in ((plus, 1), (minus, -1)):
                if end != "0":
                    matrix[nodes[end], k] = matrix[k, nodes[end]] = sign
        # Least squares, because straps without resistance close loops with undetermined currents.
        return np.linalg.lstsq(matrix, right, rcond=1e-15)[0][len(nodes) :]


def nodal_currents(
    thresholds: np.ndarray, wires: Wires, bitline_volts: np.ndarray, source_volts: float
) -> tuple[list[float], list[float]]:
    """Return bitline and source currents of a tile of resistor cells, laid out pitch by pitch."""
    rows, columns = thresholds.shape
    network = Network()
    drivers = [network.source(f"v{j}", "0", bitline_volts[j]) for j in range(columns)]
    for j in range(columns):
        places = [f"v{j}", *(f"b{i},{j}" for i in range(rows))]
        for segment, (a, b) in enumerate(pairwise(places)):
            network.wire(a, b, wires.bitline_ohms if segment else wires.bitline_end_ohms)
        for i in range(rows):
            line = i // wires.rows_per_source_line
            network.wire(f"b{i},{j}", f"s{line},{j}", 1e5 * thresholds[i, j])
    lines = sorted({i // wires.rows_per_source_line for i in range(rows)})
    for line in lines:
        cells, every = [f"s{line},{j}" for j in range(columns)], wires.strap_every
        pitches = cells
        if every:
            groups = [cells[k : k + every] for k in range(0, columns, every)]
            pitches = [name for k, group in enumerate(groups) for name in (f"strap{line},{k}", *group)]
            pitches.append(f"strap{line},{len(groups)}")
        for a, b in pairwise(pitches):
            network.wire(a, b, wires.source_ohms)
        for end in [name for name in pitches if name.startswith("strap")] if every else cells[:1]:
            network.wire(end, "return" if every else f"return{line}", wires.source_end_ohms)
    returns = ["return"] if wires.strap_every else [f"return{line}" for line in lines]
    meters = [network.source(name, "0", source_volts) for name in returns]
    currents = network.solve()
    return [-currents[k] for k in drivers], [currents[k] for k in meters]


WIRES = {
    "strapped every 2, two rows per line": Wires(900.0, 2e3, 3e3, 700.0, 2, 2),
    "strapped every 2, no contact": Wires(900.0, 2e3, 3e3, 0.0, 2, 2),
    "strapped every 2, one node per line": Wires(900.0, 0.0, 0.0, 700.0, 2, 2),
    "strapped at the edges, one row per line": Wires(900.0, 2e3, 3e3, 700.0, 1, 16),
    "strapped at each bitline": Wires(0.0, 2e3, 3e3, 700.0, 3, 1),
    "sensed, one row per line": Wires(900.0, 2e3, 3e3, 700.0, 1, None),
    "sensed, two rows per line": Wires(900.0, 2e3, 3e3, 0.0, 2, None),
    "sensed, one node per line": Wires(0.0, 0.0, 0.0, 700.0, 1, None),
}


@pytest.mark.parametrize("wires", WIRES.values(), ids=WIRES.keys())
def test_three_by_five_resistors_meet_a_dense_nodal_matrix(resistor_cell: Cell, wires: Wires) -> None:
    random = np.random.default_rng(5)
    thresholds = random.uniform(0.5, 5.0, (3, 5))
    bitline_volts = random.uniform(-0.2, 0.6, (3, 5))
    currents = read(Tile(thresholds, resistor_cell, wires), Stimulus(np.zeros((3, 3)), bitline_volts, 0.05))
    for vector, volts in enumerate(bitline_volts):
        bitline, source = nodal_currents(thresholds, wires, volts, 0.05)
        scale = np.abs(bitline).max()
        np.testing.assert_allclose(currents.bitline[vector], bitline, rtol=1e-8, atol=1e-8 * scale)
        np.testing.assert_allclose(currents.source[vector], source, rtol=1e-8, atol=1e-8 * scale)


def test_without_wires_a_line_carries_the_sum_of_its_cells(flash_cell: Cell) -> None:
    random = np.random.default_rng(6)
    thresholds = random.uniform(3.5, 5.0, (4, 3))
    gates = np.array([[5.0, 0.0, 5.0, 5.0], [0.0, 5.0, 4.5, 0.0], [5.0, 5.0, 5.0, 5.0]])
    currents = read(
        Tile(thresholds, flash_cell, Wires(rows_per_source_line=1, strap_every=None)),
        Stimulus(gates, np.full((3, 3), 0.5)),
    )
    for vector in range(3):
        single = np.stack([cell_amps(flash_cell, thresholds[i], gates[vector, i], 0.5) for i in range(4)])
        assert currents.bitline[vector] == pytest.approx(single.sum(axis=0), rel=1e-6)
        assert currents.source[vector] == pytest.approx(single.sum(axis=1), rel=1e-6, abs=1e-14)
    assert currents.converged.all()
    assert currents.residual.max() < 1e-6


def test_wire_resistance_costs_current_and_vanishes_in_the_limit(flash_cell: Cell) -> None:
    stimulus = Stimulus(np.full((1, 4), 5.0), np.full((1, 3), 0.5))
    sums = []
    for ohms in (0.0, 1e-3, 10.0, 1e4):
        tile = Tile(np.full((4, 3), 4.1), flash_cell, Wires(ohms, ohms, ohms, ohms, 2, 2))
        sums.append(read(tile, stimulus).bitline.sum())
    assert sums[0] > sums[1] > sums[2] > sums[3]
    assert sums[1] == pytest.approx(sums[0], rel=1e-6)
    assert sums[3] < 0.9 * sums[0]
