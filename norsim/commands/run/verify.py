"""`norsim verify`: verify a finished run by solving any number of its kept reads again."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from norsim.backends.registry import array_backends, backend_named
from norsim.commands.shared import show
from norsim.commands.shared.device_option import cpu_option
from norsim.commands.shared.network_options import model_is_trusted, trust_model_option
from norsim.commands.shared.options import cell_is_trusted, print_json, scheduler_options, trust_option, workers_for
from norsim.errors import ConfigurationError
from norsim.evaluation.proof.defaults import SPICE_SAMPLE


@click.command("verify")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    show_default=f"{SPICE_SAMPLE}, or all",
    help="Number of reads to solve again, of those that the run drew at random from all reads and kept.",
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
@click.option(
    "--tolerance-steps",
    type=click.FloatRange(min=0),
    help="Fail (exit 5) if the largest error, in converter steps, is above this.",
)
@cpu_option("a few reads are solved again, tile by tile")
@trust_option
@trust_model_option
@scheduler_options
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="cores",
              help="Number of decks solved at a time on this machine.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")  # fmt: skip
def command(
    run: Path, samples: int | None, backend: str, tolerance: float | None, tolerance_steps: float | None, jobs: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Solve again reads that RUN, a run folder of eval-network, drew at random from all of its reads, and compare.

    \b
    Examples:
      norsim verify runs/first --samples 16 --tolerance 1e-4
      norsim verify runs/first --backend nodal --json
    """
    from norsim.evaluation.proof.kept_reads import load_samples
    from norsim.evaluation.proof.verification import check_errors, verify
    from norsim.evaluation.proof.words import sentences
    from norsim.experiments.read_back import network_of_run
    from norsim.tiling.modules import tiled_layers

    analog = network_of_run(run, trust_model=model_is_trusted(), trust_cell=cell_is_trusted())
    kept, at_random = load_samples(run / "samples.npz", {name: one.grid for name, one in tiled_layers(analog).items()})
    if not at_random:
        raise ConfigurationError(f"{run} kept no reads: a run with the ideal backend makes none")
    wanted = min(SPICE_SAMPLE, at_random) if samples is None else samples
    if wanted > at_random:
        raise ConfigurationError(
            f"{run} kept {at_random} reads that it drew at random; give --samples of at most {at_random}. A run keeps "
            "as many as its --spice-sample, if that is more"
        )
    with workers_for(jobs) as workers:
        found = verify(kept, workers, backend_named(backend), wanted)
    if as_json:
        print_json({"run": str(run), "backend": backend, **asdict(found)})
    else:
        (text,) = sentences(found)
        show.table_or_lines(
            (f"{run}, by {backend}", ""),
            [("reads solved again", str(found.samples)),
             ("largest error, in converter steps", f"{found.max_error_steps:.2g}"),
             ("largest error, of full scale", f"{found.max_error_full_scale:.1e}"),
             ("rms error, of full scale", f"{found.rms_error_full_scale:.1e}"),
             ("reads that may be worse, at 95 %", f"{100 * (found.worse_fraction_95 or 0):.1f} %"),
             ("differing converter codes", f"{100 * (found.adc_mismatch_fraction or 0):.2f} %")],
            [text],
        )  # fmt: skip
    check_errors(found, tolerance, tolerance_steps)
