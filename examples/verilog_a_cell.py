"""A cell in Verilog-A: compile it, compare its currents with its equation, and read a network off an array of it.

    python examples/verilog_a_cell.py [FOLDER]      writes verilog_a_cell.svg into FOLDER, by default into this one

VACASK compiles and solves the cell: pip install 'norsim[vacask]'.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from pictures import parser, save
from torch import nn
from your_network import Pair, digits, trained

import norsim

CELL = """\
`include "disciplines.vams"
module saturating(d, g, s, b);
  inout d, g, s, b;
  electrical d, g, s, b;
  (* type="instance" *) parameter real vt = 3.0;
  parameter real gain = 4e-6;
  parameter real corner = 0.6;
  analog I(d,s) <+ gain*0.03*ln(1.0 + exp((V(g,b) - vt)/0.03))*corner*tanh(V(d,s)/corner);
endmodule
"""
THRESHOLDS, DRAINS = (2.0, 2.2, 2.4, 2.6), np.linspace(0.05, 1.0, 20)
GATE = 3.0


@dataclass(frozen=True)
class Study:
    """Currents of single cells, `[thresholds, drain voltages]` in amperes, by VACASK and by hand; the network."""

    drains: NDArray[np.float64]
    simulated: NDArray[np.float64]
    by_hand: NDArray[np.float64]
    result: norsim.Evaluation


def chip_with(file: Path) -> norsim.Chip:
    """Return the preset `etox-va` with the cell in `file`; its machine code is trusted."""
    cell = {
        "verilog_a": [str(file)], "module": "saturating", "pins": ["drain", "gate", "source", "bulk"], "state": "vt",
        "erased": "2 V", "programmed": "4 V",
    }  # fmt: skip
    return norsim.load_chip("etox-va", {"cell": cell, "bit_serial.wordline_read": f"{GATE} V"}, trust_cell=True)


def currents(chip: norsim.Chip, drains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the current of one cell on lossless wires, `[thresholds, drains]`: a tile of one cell for each."""
    up, wires = np.full((len(drains), 1), GATE), norsim.Wires()
    found = [
        norsim.read(norsim.Tile([[vt]], chip.cell, wires), norsim.Stimulus(up, drains[:, None]), backend="vacask")
        for vt in THRESHOLDS
    ]
    return np.array([one.bitline[:, 0] for one in found])


def by_hand(drains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the same from the equation in CELL."""
    on = 0.03 * np.log1p(np.exp((GATE - np.array(THRESHOLDS)) / 0.03))
    return 4e-6 * on[:, None] * 0.6 * np.tanh(drains / 0.6)


def study(network: nn.Module, train: Pair, test: Pair, drains: NDArray[np.float64] = DRAINS) -> Study:
    """Compile the cell, read one cell after the other, then a network on arrays of it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "saturating.va"
        file.write_text(CELL)
        chip = chip_with(file)
        net = norsim.deploy(network, chip, calibration=train)
        return Study(
            drains,
            currents(chip, drains),
            by_hand(drains),
            net.evaluate(test, spice_sample=4, proof_images=10, proof_seconds=20),
        )


def draw(found: Study, path: Path) -> None:
    """Draw the currents over the drain voltage, and the accuracy beside that of the float network."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", width_ratios=(2, 1))
    for vt, amps, expected in zip(THRESHOLDS, found.simulated, found.by_hand, strict=True):
        (line,) = left.plot(found.drains, 1e6 * expected, lw=1, label=f"threshold {vt:g} V")
        left.plot(found.drains, 1e6 * amps, "o", ms=3, color=line.get_color())
    left.set_xlabel("drain, V")
    left.set_ylabel("cell current, uA: points VACASK, lines by hand")
    left.legend(fontsize=8)
    one = found.result
    shares = [100 * share for share in (one.accuracy_float, one.accuracy_quantized, one.accuracy)]
    right.bar(["float", "4 bit", "on the array"], shares, color=["#2f6fae", "#2f6fae", "#b4531f"])
    right.set_ylim(min(shares) - 5, 100)
    right.set_ylabel("accuracy on digits, %")
    save(figure, path)


def main() -> None:
    """Run the study and draw it."""
    folder = parser(__doc__).parse_args().folder
    train, test = digits("train"), digits("test")
    found = study(trained(train), train, test)
    print(f"VACASK is within {np.abs(found.simulated / found.by_hand - 1).max():.1e} of the equation")
    print(
        f"on the array {100 * found.result.accuracy:.2f} %, in integers {100 * found.result.accuracy_quantized:.2f} %"
    )
    draw(found, folder / "verilog_a_cell.svg")


if __name__ == "__main__":
    main()
