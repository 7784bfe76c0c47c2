"""`norsim import-results`: currents from the user's simulator for a deck, checked, decoded and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from norsim.backends.registry import BACKENDS, backend_named
from norsim.chip.load import build_chip
from norsim.chip.renamed import of_stored_run
from norsim.commands.shared.options import cell_is_trusted, print_json, trust_option
from norsim.configuration.strict_yaml import read_yaml
from norsim.errors import ConfigurationError, ThresholdError
from norsim.files import write_atomically
from norsim.folders.lock import FolderLock

if TYPE_CHECKING:
    from norsim.array.tile import Floats
    from norsim.chip.model import Chip
    from norsim.spice.results import Results
    from norsim.tiling.deck_folder import DeckFolder

# Solvers that return the currents of all lines.
SOLVERS = tuple(name for name, backend in BACKENDS.items() if backend.all_lines)


@click.command("import-results")
@click.argument("run", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("results", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--against", metavar="SOLVER|FILE",
              help=f"Compare with another file of results, or with norsim by {', '.join(SOLVERS)}.")  # fmt: skip
@click.option("--tolerance", type=click.FloatRange(min=0),
              help="Fail (exit 5) if the largest difference, in full scale, is above this.")  # fmt: skip
@trust_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(run: Path, results: Path, against: str | None, tolerance: float | None, as_json: bool) -> None:
    """Import the results of your simulator for the deck in DIR, a folder of build-netlist; write the currents and the
    decoded sums to DIR/currents.npz.

    FILE is an HSPICE listing or CSDF file, a .prn or .csv file of Xyce, or a raw file of ngspice; the format is
    detected from its content.

    \b
    Examples:
      norsim import-results runs/deck runs/deck/currents.raw
      norsim import-results runs/deck runs/deck/tile.lis --against nodal --tolerance 1e-3
    """
    if tolerance is not None and against is None:
        raise ConfigurationError("--tolerance needs --against, the results to compare with")

    from norsim.periphery.encoding import by_slice
    from norsim.tiling.deck_folder import load_folder

    folder = load_folder(run, kept_chip(run))
    found, amps = currents(folder, results)
    other = None if against is None else compared_with(folder, against)
    sums = folder.sums(amps)
    arrays: dict[str, Any] = {
        "codes": folder.codes, "weights": folder.weights.astype(np.uint8), "weight_zero": np.array(folder.weight_zero),
        "currents": by_slice(amps, folder.encoding.slices), "mac": sums, "mac_ideal": folder.exact_sums(),
    }  # fmt: skip
    with FolderLock(run):
        write_atomically(run / "currents.npz", lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    summary: dict[str, Any] = {
        "run": str(run), "results": str(results), "format": found.format, "warnings": list(found.warnings),
        "reads": folder.stimulus.vectors, "full_scale_amps": folder.full_scale_amps,
        "max_mac_error": float(np.abs(sums - folder.exact_sums()).max()),
        "against": against, **differences(folder, amps, other),
    }  # fmt: skip
    if as_json:
        print_json(summary)
    else:
        show(summary)
    if tolerance is not None and other is not None and (worst := largest(folder, amps, other)) > tolerance:
        raise ThresholdError(f"largest difference {worst:.2e} of full scale is above {tolerance:g}")


def kept_chip(run: Path) -> Chip:
    """Return the chip stored in a folder of build-netlist. Raises ConfigurationError for any other folder."""
    try:
        manifest = json.loads((run / "manifest.json").read_text())
        content, path, seed = (
            read_yaml(run / "config.resolved.yaml"),
            Path(manifest["chip_file"]),
            int(manifest["seed"]),
        )
    except (OSError, ValueError, TypeError, KeyError) as problem:
        raise ConfigurationError(f"{run} is not a folder written by build-netlist: {problem}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{run / 'config.resolved.yaml'}: expected the keys of a chip")
    return build_chip(of_stored_run(content), path, cell_is_trusted()).specimen(seed, 0)


def currents(folder: DeckFolder, results: Path) -> tuple[Results, Floats]:
    """Return a file of results, and the `[vectors, passes, outputs]` amperes in it, checked like those of ngspice."""
    from norsim.spice.elements import ammeters
    from norsim.spice.kirchhoff import currents_from
    from norsim.spice.results import read_results
    from norsim.spice.simulators.choice import chosen_simulator

    lost = chosen_simulator().lost_amps
    folder.check_title(results)
    found = read_results(results, ammeters(folder.tile), folder.stimulus.vectors)
    return found, folder.amps(currents_from(found.table, folder.tile, folder.stimulus, found.format, lost))


def compared_with(folder: DeckFolder, against: str) -> Floats:
    """Return `[vectors, passes, outputs]` amperes computed by a solver or read from another file."""
    if against in SOLVERS:
        return folder.amps(backend_named(against).read(folder.tile, folder.stimulus))
    if not Path(against).is_file():
        raise ConfigurationError(f"--against {against}: expected one of {', '.join(SOLVERS)}, or a file of results")
    return currents(folder, Path(against))[1]


def differences(folder: DeckFolder, amps: Floats, other: Floats | None) -> dict[str, float | None]:
    """Return the largest and the rms difference of `[vectors, passes, outputs]` amperes, in full scale."""
    if other is None:
        return {"max_difference_full_scale": None, "rms_difference_full_scale": None}
    rms = float(np.sqrt(np.square(amps - other).mean())) / folder.full_scale_amps
    return {"max_difference_full_scale": largest(folder, amps, other), "rms_difference_full_scale": rms}


def largest(folder: DeckFolder, amps: Floats, other: Floats) -> float:
    """Return the largest difference of `[vectors, passes, outputs]` amperes, in full scale."""
    return float(np.abs(amps - other).max()) / folder.full_scale_amps


def show(summary: dict[str, Any]) -> None:
    """Print the result."""
    click.echo(
        f"{summary['results']}: {summary['reads']} reads ({summary['format']}), largest deviation of a sum from the "
        f"integers {summary['max_mac_error']:.2f} steps"
    )
    for warning in summary["warnings"]:
        click.echo(f"Warning in the file: {warning}")
    if summary["against"] is not None:
        click.echo(
            f"Against {summary['against']}: largest difference {summary['max_difference_full_scale']:.1e} of full "
            f"scale, rms {summary['rms_difference_full_scale']:.1e}"
        )
    click.echo(f"Currents are in {summary['run']}/currents.npz")
