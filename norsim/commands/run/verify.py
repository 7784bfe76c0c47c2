"""`norsim verify`: verify a finished run by solving any number of its kept reads again."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from norsim.backends.registry import array_backends, backend_named
from norsim.commands.shared import show
from norsim.commands.shared.network_options import model_is_trusted, trust_model_option
from norsim.commands.shared.options import cell_is_trusted, print_json, scheduler_options, trust_option, workers_for
from norsim.errors import ConfigurationError, ThresholdError


@click.command("verify")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--samples",
    type=click.IntRange(1, 64),
    default=32,
    show_default=True,
    help="Number of reads to solve again, of those that the run kept.",
)
@click.option(
    "--backend",
    type=click.Choice(array_backends()),
    default="ngspice",
    show_default=True,
    help="Solver to compare with.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="Fail (exit 5) if the largest error, in full scale, is above this.",
)
@trust_option
@trust_model_option
@scheduler_options
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="cores",
              help="Number of decks solved at a time on this machine.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")  # fmt: skip
def command(run: Path, samples: int, backend: str, tolerance: float | None, jobs: int, as_json: bool) -> None:
    """Solve reads kept by RUN, a run folder of eval-network, again, each alone, and compare.

    \b
    Examples:
      norsim verify runs/first --samples 16 --tolerance 1e-4
      norsim verify runs/first --backend nodal --json
    """
    from norsim.evaluation.proof import load_samples, verify
    from norsim.experiments.read_back import network_of_run
    from norsim.tiling.modules import tiled_layers

    analog = network_of_run(run, trust_model=model_is_trusted(), trust_cell=cell_is_trusted())
    grids = {name: layer.grid for name, layer in tiled_layers(analog).items()}
    with workers_for(jobs) as workers:
        found = verify(load_samples(run / "samples.npz", grids)[:samples], workers, backend_named(backend))
    if as_json:
        print_json({"run": str(run), "backend": backend, **asdict(found)})
    elif found.samples:
        largest, rms = f"{found.max_error_full_scale:.1e}", f"{found.rms_error_full_scale:.1e}"
        differ = f"{100 * (found.adc_mismatch_fraction or 0):.2f} %"
        show.table_or_lines(
            (f"{run}, by {backend}", ""),
            [("reads solved again", str(found.samples)), ("largest error, of full scale", largest),
             ("rms error, of full scale", rms), ("differing ADC codes", differ)],
            [f"{found.samples} reads solved again by {backend}: largest error {largest} of full scale, rms {rms}, "
             f"differing ADC codes {differ}"],
        )  # fmt: skip
    if found.max_error_full_scale is None:
        raise ConfigurationError(f"{run} kept no reads: a run with the ideal backend makes none")
    if tolerance is not None and found.max_error_full_scale > tolerance:
        raise ThresholdError(f"largest error {found.max_error_full_scale:.2e} of full scale is above {tolerance:g}")
