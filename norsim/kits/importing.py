"""From a kit and the name of a transistor to a flat card and a chip file, both checked against the kit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.backends.registry import reference
from norsim.chip.cell_files import build_cell
from norsim.chip.load import build_chip
from norsim.chip.schema import chip_file
from norsim.errors import ConfigurationError, SolveError, suggestion
from norsim.kits import curves
from norsim.kits.flat import flats
from norsim.kits.library import find_library, names_in
from norsim.kits.mismatch import Mismatch, sample
from norsim.spice.simulators.running import own_folder
from norsim.spice.wrapper import PINS

# Largest difference of a current from the kit's, relative.
AGREEMENT = 1e-6
# What ngspice says of a size that is in no bin.
NO_BIN = "could not find a valid modelname"
# The current that defines the threshold of the transistor as it is in the kit.
THRESHOLD_AMPS = 1e-7
GATES, DRAINS = 41, 4
# A programmed cell's threshold above the gate volts of the read.
ABOVE_READ = 0.5
# The top level: a share of the erased cell's current, but at most that of the preset etox65, since more bends on wires.
TOP_SHARE, MOST_TOP_AMPS = 0.5, 1.6e-6
# Size of the tile whose read is timed, and its reads.
WORDLINES, BITLINES, READS = 8, 4, 4
# The shortest of some repeated reads counts, but a slow kit is not read again.
REPEATS, ENOUGH_SECONDS = 3, 2.0
# The array around the cell: estimates, those of the preset etox65.
AROUND: dict[str, Any] = {
    "tile": {"wordlines": 256, "bitlines": 128}, "mapping": {"cell_bits": 4, "scheme": "reference"},
    "encoding": "bit-serial", "adc": {"bits": 8}, "calibration": {"images": 256, "reads": 64, "column_fit": True},
}  # fmt: skip
WIRES: dict[str, Any] = {
    "bitline": "0.4 ohm", "bitline_end": "20 ohm", "source_line": "20 ohm", "source_line_end": "0 ohm",
    "rows_per_source_line": 2, "strap_every": 16,
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """A transistor of a kit.

    `root`         folder of the kit
    `corner`       section of its library
    `transistor`   subcircuit or model card
    `instance`     its parameters in SPICE notation, such as `w` and `l`
    `read_volts`   gate and drain volts of a read
    `library`      file of the library relative to `root`; None: the one that has the corner and the transistor
    `pins`         nodes of the subcircuit, as in `cell.pins`
    `compatibility`  ngspice mode, as in `cell.compatibility`
    `celsius`      temperature
    `trusted`      whether the kit's files are trusted (norsim.spice.model_files)
    """

    root: Path
    corner: str
    transistor: str
    instance: dict[str, str]
    read_volts: tuple[float, float]
    library: str | None = None
    pins: tuple[str, ...] = ("drain", "gate", "source", "bulk")
    compatibility: str = ""
    celsius: float = 27.0
    trusted: bool = False


@dataclass(frozen=True, eq=False)
class InPlace:
    """A transistor of a kit in place.

    `content` is a chip file with it, with the threshold `threshold` as `erased`; `call` is its element, and `amps`
    `[drains, gates]` are its curves, amperes.
    """

    content: dict[str, Any]
    cell: Cell
    call: str
    threshold: float
    amps: Floats


@dataclass(frozen=True)
class Imported:
    """A flat transistor and what was checked.

    `netlist`      text of the flat card
    `content`      chip file with it
    `bins`         names of the bins in the kit
    `difference`   largest relative difference of its currents from the kit's
    `read_seconds` seconds of ngspice for reads of a small tile: of the kit's subcircuit, and of the flat one
    """

    netlist: str
    content: dict[str, Any]
    bins: tuple[str, ...]
    difference: float
    read_seconds: tuple[float, float]


def in_place(wanted: Wanted, folder: Path) -> InPlace:
    """Return the transistor in place; `folder` is where its chip file will be.

    Raises ConfigurationError for a kit without it, for a size that ngspice refuses, and if the transistor does not turn
    on between 0 V and the gate volts of the read. Raises SimulatorError and SolveError as ngspice's `read` does.
    """
    unknown = [pin for pin in wanted.pins if pin not in (*PINS, "ground")]
    if unknown:
        raise ConfigurationError(f"the pin {unknown[0]!r} is not known; {suggestion(unknown[0], (*PINS, 'ground'))}")
    library = wanted.library or find_library(
        wanted.root, wanted.corner, wanted.transistor, wanted.trusted, wanted.compatibility
    )
    names = names_in(wanted.root, library, wanted.corner, wanted.trusted, wanted.compatibility)
    is_card = names.get(wanted.transistor.lower(), False)
    gate, drain = wanted.read_volts
    cell = {
        "models_root": str(wanted.root.resolve()), "models": [library], "corner": wanted.corner,
        "model" if is_card else "subcircuit": wanted.transistor, "pins": list(wanted.pins),
        "instance": dict(wanted.instance), "compatibility": wanted.compatibility,
        "erased": "0 V", "programmed": f"{gate + ABOVE_READ:.6g} V",
    }  # fmt: skip
    content = _chip(f"{wanted.transistor}-in-place", cell, wanted, 1e-6)
    built = build_chip(content, folder / "kit.yaml", wanted.trusted).cell
    words = [f"{name}={value}" for name, value in wanted.instance.items()]
    nodes = ["0" if pin == "ground" else PINS[pin] for pin in wanted.pins]
    call = " ".join(["Mkit" if is_card else "Xkit", *nodes, wanted.transistor, *words])
    try:
        amps = curves.curves(built, call, gate, drain, GATES, DRAINS)
    except SolveError as problem:
        if NO_BIN not in str(problem):
            raise
        scale = dict(built.options).get("scale", "1")
        raise ConfigurationError(
            f"{wanted.transistor} has no bin for {' '.join(words)}. Sizes are as the kit's netlists write them: "
            f"ngspice multiplies them by its option scale, here {scale}, and compares them with lmin, lmax, wmin and "
            "wmax"
        ) from None
    threshold = curves.threshold(amps[-1], gate, THRESHOLD_AMPS)
    if threshold is None:
        raise ConfigurationError(
            f"{wanted.transistor} conducts {amps[-1, 0]:.3g} A at 0 V and {amps[-1, -1]:.3g} A at {gate:g} V on the "
            f"gate, and {drain:g} V at the drain; expected it to pass {THRESHOLD_AMPS:g} A in between. Choose other "
            "read volts; a p-channel transistor needs a subcircuit that mirrors it"
        )
    threshold = round(threshold, 4)
    cell["erased"] = f"{threshold:g} V"
    content = _chip(f"{wanted.transistor}-in-place", cell, wanted, _top_amps(amps))
    return InPlace(content, built, call, threshold, amps)


def sampled(wanted: Wanted, kit: InPlace, section: str, count: int, seed: int) -> Mismatch:
    """Return `count` transistors as the statistics of the library's `section` draw them in ngspice.

    Raises ConfigurationError if nothing is drawn there, and what `in_place` raises.
    """
    path = Path("kit.yaml")
    content = {**kit.content, "cell": {**kit.content["cell"], "corner": section}}
    file = chip_file().model_validate(content)
    drawn, mean = (
        build_cell(file.cell, file.temperature, path, wanted.trusted, drawn=drawn) for drawn in (True, False)
    )
    return sample(drawn, mean, kit.call, wanted.read_volts, count, seed)


def flatten(wanted: Wanted, kit: InPlace) -> Imported:
    """Return the flat transistor of `kit`, checked against it. No file is left behind.

    Raises ConfigurationError as `flats` does, and SolveError if currents differ from the kit's by more than AGREEMENT.
    """
    gate, drain = wanted.read_volts
    name = f"{wanted.transistor.lower()}_flat".replace(".", "_")
    errors: list[float] = []
    content = _flat_content(wanted, kit, name)
    for flat in flats(kit.cell, kit.call, name):
        with own_folder() as folder:
            (folder / content["cell"]["netlist"]).write_text(flat.text(kit.threshold))
            cell = build_chip(content, folder / "chip.yaml").cell
        call = f"X1 {' '.join(PINS.values())} {cell.subcircuit} {cell.state}={kit.threshold!r}"
        errors.append(curves.difference(curves.curves(cell, call, gate, drain, GATES, DRAINS), kit.amps))
        if errors[-1] <= AGREEMENT:
            seconds = _timed(wanted, kit, cell)
            return Imported(flat.text(kit.threshold), content, flat.bins, errors[-1], seconds)
    raise SolveError(
        f"the currents of the flat card of {wanted.transistor} differ from those of the kit by {min(errors):.1e}; "
        f"expected at most {AGREEMENT:g}. Use the kit in place, with cell.models_root"
    )


def _timed(wanted: Wanted, kit: InPlace, flat: Cell) -> tuple[float, float]:
    """Return the seconds that the reads of a small tile take with the kit in place and with the flat cell.

    Raises SolveError if their currents differ by more than AGREEMENT of the largest.
    """
    gate, drain = wanted.read_volts
    thresholds = np.full((WORDLINES, BITLINES), kit.threshold)
    stimulus = Stimulus(np.tile([[gate], [0.8 * gate]], (READS // 2, WORDLINES)), np.full((READS, BITLINES), drain))
    seconds, amps = [], []
    chip = build_chip(kit.content, Path("kit.yaml"), wanted.trusted)
    for cell in (chip.cell, flat):
        tile = Tile(thresholds, cell, chip.wires, name="import")
        taken: list[float] = []
        while len(taken) < REPEATS and sum(taken) < ENOUGH_SECONDS:
            started = time.perf_counter()
            read = reference().read(tile, stimulus).bitline
            taken.append(time.perf_counter() - started)
        amps.append(read)
        seconds.append(min(taken))
    error = float(np.abs(amps[1] - amps[0]).max() / np.abs(amps[0]).max())
    if error > AGREEMENT:
        raise SolveError(
            f"a tile of the flat card of {wanted.transistor} differs from one of the kit by {error:.1e} of its largest "
            f"current; expected at most {AGREEMENT:g}. Use the kit in place, with cell.models_root"
        )
    return seconds[0], seconds[1]


def _flat_content(wanted: Wanted, kit: InPlace, name: str) -> dict[str, Any]:
    cell = {
        "netlist": f"{name}.sp", "subcircuit": name, "state": "vt", "erased": kit.content["cell"]["erased"],
        "programmed": kit.content["cell"]["programmed"], "options": dict(kit.cell.options),
        "compatibility": wanted.compatibility,
    }  # fmt: skip
    return _chip(name, cell, wanted, _top_amps(kit.amps))


def _top_amps(amps: Floats) -> float:
    """Return the top level, amperes, of a cell with these curves `[drains, gates]`."""
    return min(TOP_SHARE * float(amps[-1, -1]), MOST_TOP_AMPS)


def _chip(name: str, cell: dict[str, Any], wanted: Wanted, top_amps: float) -> dict[str, Any]:
    """Return a chip file with that cell, read at the wanted volts."""
    gate, drain = wanted.read_volts
    read = {
        "wordline_read": f"{gate:g} V", "bitline_read": f"{drain:g} V", "top_level": f"{1e6 * top_amps:.3g} uA",
        "reference_every": 16, "wires": WIRES,
    }  # fmt: skip
    return {"name": name, "temperature": f"{wanted.celsius:g} degC", "cell": cell, **AROUND, "bit_serial": read}
