"""The options of the proof of a result, and what a command says about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from norsim.commands.shared import show
from norsim.commands.shared.options import Decorated
from norsim.errors import ThresholdError
from norsim.evaluation.proof.defaults import SPICE_SAMPLE

if TYPE_CHECKING:
    from norsim.evaluation.evaluate import Evaluation

# Rows of the table of multiply-accumulates without --verbose.
MOST_ROWS = 8


def proof_options(function: Decorated) -> Decorated:
    """Add the options that set how much of a result is solved again, and the bounds on it."""
    for option in (
        click.option("--max-changed", type=click.FloatRange(0, 1), metavar="FRACTION",
                     help="Fail (exit 5) if more than this share of the predictions may differ from those of the next "
                          "solver above the backend: the upper end of the 95 % interval."),
        click.option("--tolerance-steps", type=click.FloatRange(min=0),
                     help="Fail (exit 5) if that error, in converter steps, is above this."),
        click.option("--tolerance", type=click.FloatRange(min=0),
                     help="Fail (exit 5) if the largest error of verified reads, in full scale, is above this."),
        click.option("--proof-seconds", type=click.FloatRange(min=0, min_open=True), metavar="S",
                     help="Limit the time in which ngspice solves reads again, and that for --proof-images."),
        click.option("--proof-images", type=click.IntRange(min=0), metavar="N",
                     help="Number of images that the next solver above the backend classifies again; 0 for none. "
                          "Default: 30, and up to 1000 of small networks."),
        click.option("--spice-sample", type=click.IntRange(min=0), default=SPICE_SAMPLE, show_default=True,
                     help="Number of reads, drawn at random from all reads, that ngspice solves again, besides one of "
                          "every pass of every layer; 0 for none."),
    ):  # fmt: skip
        function = option(function)
    return function


def proof_in_words(found: Evaluation) -> list[str]:
    """Return the end-to-end proof and the parts of the verification as sentences."""
    from norsim.backends.registry import backend_named
    from norsim.evaluation import end_to_end
    from norsim.evaluation.proof.words import sentences

    absent = end_to_end.why_absent(backend_named(found.backend))
    first = end_to_end.in_words(found.end_to_end) if found.end_to_end else absent and f"No end-to-end proof: {absent}."
    return [line for line in (first, *sentences(found.verification)) if line]


def warn_of_clipping(found: Evaluation) -> None:
    """Warn on stderr of layers whose converters clip many currents."""
    from norsim.evaluation.clipping import MANY

    for layer in found.layers:
        low, high = layer["clipped_low"] or 0.0, layer["clipped_high"] or 0.0
        if low + high > MANY:
            click.echo(
                f"warning: the converters of {layer['name']} clip {100 * (low + high):.1f} % of their currents "
                f"({100 * low:.1f} % low, {100 * high:.1f} % high): their range does not fit; calibrate with more "
                "images or reads, or use more bits",
                err=True,
            )


def show_macs(found: Evaluation, verbose: bool) -> None:
    """Print which share of the multiply-accumulates is on the array, and a table of where they are."""
    show.say(f"On the array: {100 * found.macs_share:.1f} % of the multiply-accumulates of an image")
    rows = macs_rows(found)
    shown = rows if verbose else rows[:MOST_ROWS]
    more = "" if len(shown) == len(rows) else f": the largest of {len(rows)}; all with --verbose"
    show.table(("layer", "tiles", "share"), shown, f"Multiply-accumulates of an image{more}")


def macs_rows(found: Evaluation) -> list[tuple[str, str, str]]:
    """Return name, tiles and share of the multiply-accumulates of each layer and digital module, the largest first."""
    layers = [
        (str(row["name"]), "digital" if row["name"] in found.macs_digital else str(row["tiles"]), row["macs_share"])
        for row in found.layers
    ]
    known = {row["name"] for row in found.layers}
    others = [
        (name or "functions", "digital", share) for name, share in found.macs_digital.items() if name not in known
    ]
    largest = sorted([*layers, *others], key=lambda row: -row[2])
    return [(name, tiles, f"{100 * share:.2f} %") for name, tiles, share in largest]


def warn_of_result(found: Evaluation) -> None:
    """Warn on stderr of what makes a result say little: clipped currents, and many multiply-accumulates elsewhere."""
    warn_of_clipping(found)
    warn_of_digital_macs(found)


def warn_of_digital_macs(found: Evaluation) -> None:
    """Warn on stderr if many multiply-accumulates are not on the array."""
    from norsim.tiling.macs import below_share

    warning = below_share(found.macs_share, found.macs_digital)
    if warning is not None:
        click.echo(f"warning: {warning}", err=True)


def check_proof(found: Evaluation, tolerance: float | None, steps: float | None, changed: float | None) -> None:
    """Raise ThresholdError for a proof that misses a requested bound."""
    from norsim.evaluation.end_to_end import check_changed
    from norsim.evaluation.proof.verification import check_errors, largest_errors

    if (tolerance is not None or steps is not None) and not largest_errors(found.verification):
        raise ThresholdError(
            "--tolerance and --tolerance-steps need verified reads, but none were solved again: give --spice-sample 1 "
            "or more, and a backend other than ideal"
        )
    check_errors(found.verification, tolerance, steps)
    check_changed(found.end_to_end, changed)
