"""`norsim doctor`: the installed software, its features, and one simulated cell as a check."""

from __future__ import annotations

import os
import platform
import shutil
import time
from importlib.metadata import version
from typing import Any

import click

from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import backend_named, reference
from norsim.chip.load import load_chip, presets
from norsim.commands.shared import show
from norsim.commands.shared.options import print_json
from norsim.errors import NorsimError, SimulatorError
from norsim.saved.shipped import shipped_networks
from norsim.spice.simulators.choice import chosen_simulator
from norsim.spice.simulators.compiled import installed_file
from norsim.spice.simulators.ngspice import find_ngspice, version_line
from norsim.spice.simulators.probe import abilities


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(as_json: bool) -> None:
    """Show the installed software and its features, and simulate one cell with ngspice.

    If no usable ngspice is found, exit with code 3 and say what to install.

    \b
    Examples:
      norsim doctor
      norsim doctor --json
    """
    import torch

    from norsim.experiments.devices import cards

    found: dict[str, Any] = {
        "norsim": version("norsim"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "cuda_cards": cards(),
        "cores": os.cpu_count(),
        "chips": list(presets()),
        "networks": shipped_networks(),
    }
    problem: NorsimError | None = None
    try:
        found |= simulator()
    except NorsimError as caught:
        problem = caught
        found["problem"] = str(caught)
    if as_json:
        print_json(found)
    else:
        show.table((), [(key.replace("_", " "), show.text_of(value)) for key, value in found.items()])
    if problem:
        raise problem
    if not as_json:
        show.say(
            "Everything required is installed, and the test cell reads correctly. Without klu, ngspice solves large "
            "tiles more slowly; without osdi, it cannot load compiled models. neospice is needed only if you "
            "select it, and VACASK also for cells in Verilog-A."
        )


def simulator() -> dict[str, Any]:
    """Return the simulator that NORSIM_SIMULATOR selects, ngspice's features, and one cell read by every simulator."""
    import numpy as np

    from norsim.backends.programming import program_levels

    by = chosen_simulator()
    found = ngspice_found(by.name == "ngspice")
    chip = load_chip("etox65")
    started = time.monotonic()
    levels = program_levels(chip.cell, chip.encoding)
    gate, drain = chip.encoding.verify_volts
    tile = Tile(levels.thresholds[-1:, None], chip.cell, Wires(strap_every=1), name="doctor")
    one_cell = Stimulus(np.array([[gate]]), np.array([[drain]]))
    amps = float(reference().read(tile, one_cell).bitline[0, 0])
    seconds = time.monotonic() - started

    def agreement(backend: str) -> str:
        try:
            other = float(backend_named(backend).read(tile, one_cell).bitline[0, 0])
            return f"works, agrees to {abs(other / amps - 1):.0e}"
        except NorsimError as problem:
            return str(problem)

    return {
        **found,
        "libngspice_through_pyspice": agreement("ngspice-shared"),
        "neospice": agreement("neospice"),
        "vacask": agreement("vacask"),
        "verilog_a_compiler": compiler(),
        "simulator": by.identity(),
        "one_cell_amps": amps,
        "levels_worst_error": levels.worst_error,
        "seconds": round(seconds, 2),
    }


def compiler() -> str:
    """Return whether Verilog-A files can be compiled, and what is missing if not."""
    try:
        path = installed_file("bin", "openvaf-r")
    except SimulatorError as problem:
        return str(problem)
    return f"openvaf-r at {path}" if shutil.which("ld") else f"openvaf-r at {path}, but it needs ld: install binutils"


def ngspice_found(needed: bool) -> dict[str, Any]:
    """Return ngspice's version, path and features. Raises SimulatorError if it is `needed` but not usable."""
    try:
        path = find_ngspice()
        able = abilities(path)
    except SimulatorError as problem:
        if needed:
            raise
        return {"ngspice": str(problem), "klu": False, "osdi": False}
    return {"ngspice": f"{version_line(path)} at {path}", "klu": able.klu, "osdi": able.osdi}
