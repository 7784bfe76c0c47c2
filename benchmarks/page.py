"""The text of docs/performance.md, made from the measurements."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import Deviation
from benchmarks.cases import CHIP
from benchmarks.claims import CLAIMS, Claim
from benchmarks.measure import Measured
from benchmarks.plan import THREADS, Found
from benchmarks.speed import Point
from norsim.jobs.machine import processor
from norsim.spice.simulators import ngspice

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
# Visible only in the file, not on the rendered page.
WRITTEN_BY = "<!-- Written by `make bench`; do not edit. -->"
# The last figures of a card, which `python -m benchmarks.gpu measure FILE --out benchmarks/gpu.json` writes.
GPU = Path(__file__).with_name("gpu.json")
# Rows of the table of GPUs: the part of that file, its key, a name, and a unit.
# Part and key of a figure, its name, its unit, and its aim: a bound, and whether the figure must be above or below it.
GPU_ROWS: tuple[tuple[str, str, str, str, tuple[str, float] | None], ...] = (
    (
        "tile",
        "read_us_vector",
        "time of a read, codes to sums, per vector of four passes, 256x128 bit-serial",
        "us",
        None,
    ),
    ("tile", "compiled_read_us_vector", "the same, compiled by torch.compile", "us", None),
    ("tile", "lines_over_matmul", "time of macro's lines over a float32 matmul per pass", "x", None),
    ("tile", "compiled_lines_over_matmul", "the same, compiled by torch.compile", "x", None),
    ("tile", "max_error_full_scale", "largest deviation from numba on a CPU", "of full scale", ("≤", 1e-6)),
    ("nodal", "us_vector", "time of a read by nodal, 256x128 bit-serial", "us", None),
    ("nodal", "speed_over_cpu", "speed of nodal over two threads on its machine's CPU", "x", ("≥", 50)),
    ("nodal", "max_error", "largest deviation of nodal from these", "of the largest current", ("≤", 1e-8)),
    ("network", "seconds", "ResNet-20 on the array, 10,000 images", "s", ("≤", 5)),
    ("network", "over_plain", "time of ResNet-20 on the array over plain float32", "x", ("≤", 6)),
    (
        "training",
        "float_epoch_seconds",
        "training epoch of ResNet-18 in float, 50,000 images of 32 x 32",
        "s",
        ("≤", 10),
    ),
    ("training", "quantized_epoch_seconds", "the same with learned quantizers, beside its teacher", "s", ("≤", 10)),
)
# The last figures of `python -m benchmarks.vacask`.
VACASK = Path(__file__).with_name("vacask.json")
PACKAGES = ("norsim", "numpy", "numba", "scipy", "torch")


def page(found: Found) -> str:
    """Return the whole page."""
    parts = (_head, _claims, _notes, _machine, _rungs, _growth)
    return "\n".join([*(line for part in parts for line in part(found)), *vacask_section(VACASK), *gpu_section(GPU)])


def unmet(found: Found) -> list[Claim]:
    """Return the claims whose bounds are not met."""
    return [claim for claim in CLAIMS if not claim.met(found.claims[claim.key])]


def _head(found: Found) -> Iterator[str]:
    missed = unmet(found)
    yield from ("# Performance of the solvers", "", WRITTEN_BY, "")
    yield (
        f"Chip `{CHIP}`, tiles of random normal weight codes; wires x10: every wire resistance times ten. Errors are "
        "the largest over all outputs and reads, in units of full scale: all cells of an output at the top code under "
        "full drive. Times are medians; the two sides of a ratio are measured alternately, in one run on one machine."
    )
    yield ""
    if missed:
        yield f"**{len(missed)} of {len(CLAIMS)} bounds are not met**: {'; '.join(claim.text for claim in missed)}."
    else:
        yield f"All {len(CLAIMS)} bounds are met."
    yield ""


def _claims(found: Found) -> Iterator[str]:
    yield from ("## Claims", "", "| claim | measured | range | bound | aim | result |", "|---|---|---|---|---|---|")
    for claim in CLAIMS:
        measured = found.claims[claim.key]
        sign = "≤" if claim.sense == "at most" else "≥"
        aim = "" if claim.aim is None else f"{sign} {_number(claim.aim)}"
        yield (
            f"| {claim.text} | {_value(measured.value, claim.unit)} | {_range(measured)} | "
            f"{sign} {_value(claim.bound, claim.unit)} | {aim} | {'met' if claim.met(measured) else '**not met**'} |"
        )
    yield ""


def _range(measured: Measured) -> str:
    return "" if np.isnan(measured.value) else f"{_number(measured.low)} to {_number(measured.high)}"


def _notes(found: Found) -> Iterator[str]:
    yield from ("## Details of the measurements", "")
    for claim in CLAIMS:
        if found.claims[claim.key].note:
            yield f"- {claim.text}: {found.claims[claim.key].note}."
    yield ""


def _machine(found: Found) -> Iterator[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    simulator = ngspice.version_line(ngspice.find_ngspice())
    yield from ("## Machine", "")
    yield (
        f"{processor()}, {os.cpu_count()} cores, {THREADS} threads used by torch; {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, {packages}, {simulator}. "
        f"The run took {found.seconds / 60:.1f} minutes."
    )
    yield ""


def _rungs(found: Found) -> Iterator[str]:
    for title, deviations in found.rungs.items():
        yield from (f"## {title[0].upper()}{title[1:]}", "")
        yield from ("| tile | reads | largest error | rms error |", "|---|---|---|---|")
        yield from (_deviation(deviation) for deviation in deviations)
        yield ""
    yield (
        "A tile that ngspice's sparse solver does not finish is solved by VACASK. Without VACASK it is checked cell by "
        "cell: ngspice solves the current of each cell at nodal's volts, the wires' volts follow from these by "
        "Kirchhoff's current law, and ngspice solves the currents again."
    )
    yield "The first read is the full drive, the second one line alone; the others have random densities."
    yield ""


def _deviation(found: Deviation) -> str:
    if found.problem:
        return f"| {found.case.name} | {found.vectors} | failed | {_one_line(found.problem)} |"
    return f"| {found.case.name} | {found.vectors} | {_number(found.largest)} | {_number(found.rms)} |"


def _growth(found: Found) -> Iterator[str]:
    yield from ("## Time per vector", "")
    for title, points in found.growth.items():
        yield from (f"Against {title}:", "", "| tile | batch | macro, us | nodal, us |", "|---|---|---|---|")
        yield from (_point(point) for point in points)
        yield ""


def _point(point: Point) -> str:
    tile = f"{point.case.wordlines}x{point.case.bitlines}"
    if point.problem:
        return f"| {tile} | {point.batch} | failed | {_one_line(point.problem)} |"
    nodal = "" if np.isnan(point.nodal) else _number(1e6 * point.nodal)
    return f"| {tile} | {point.batch} | {_number(1e6 * point.macro)} | {nodal} |"


def vacask_section(file: Path) -> Iterator[str]:
    """Yield the lines about VACASK, from the file of the last figures, if there is one."""
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    yield from ("## VACASK, ngspice and nodal", "")
    if not kept:
        yield from ("Not measured yet: `python -m benchmarks.vacask` measures it.", "")
        return
    yield (
        f"{kept['machine']}, {kept['date']}, {kept['vacask']}, {kept['ngspice']}. Processor seconds of all reads "
        f"of a row together with the start; a solve is stopped after {kept['limit_seconds']:g} s by the clock. ngspice "
        "has VACASK's tolerances here, `reltol=1e-9`. Differences are the largest over outputs and reads, of full "
        "scale; at most 1e-8 is the bound."
    )
    heads = ("tile", "reads", "VACASK, s", "ngspice, s", "VACASK to nodal", "ngspice to nodal", "VACASK to ngspice")
    yield from ("", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|")
    for row in kept["rows"]:
        times = [_finished(row["vacask_seconds"], True), _finished(row["ngspice_seconds"], row["ngspice_run"])]
        apart = ["" if row[name] is None else _number(row[name])
                 for name in ("vacask_to_nodal", "ngspice_to_nodal", "vacask_to_ngspice")]  # fmt: skip
        yield f"| {' | '.join([row['tile'], str(row['reads']), *times, *apart])} |"
    yield ""


def _finished(seconds: float | None, was_run: bool) -> str:
    return _number(seconds) if seconds is not None else "not finished" if was_run else "not run"


def gpu_section(file: Path) -> Iterator[str]:
    """Yield the lines about GPUs, from the file of the last figures, if there is one."""
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    yield from ("## On a GPU", "")
    yield (
        f"{kept['card']}, {kept['date']}, torch {kept['torch']}."
        if kept
        else "No GPU was there to measure on. The "
        "script, `python -m benchmarks.gpu`, and all that it measures are tested on CPU tensors."
    )
    yield from ("", "| measurement | value | aim |  |", "|---|---|---|---|")
    for part, key, name, unit, aim in GPU_ROWS:
        value = (kept.get(part) or {}).get(key)
        shown = "no GPU" if not kept else "not measured" if value is None else _value(value, unit)
        sign, bound = aim or ("", 0.0)
        wanted = f"{sign} {_value(bound, unit)}" if aim else ""
        met = value is not None and (value <= bound if sign == "≤" else value >= bound)
        result = "" if value is None or not aim else "met" if met else "not met"
        yield f"| {name} | {shown} | {wanted} | {result} |"
    yield ""


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def _value(value: float, unit: str) -> str:
    return _number(value) if np.isnan(value) else f"{_number(value)} {unit}".strip()


def _number(value: float) -> str:
    """Format three digits, with an exponent only below a thousandth."""
    if np.isnan(value):
        return "none"
    if value == 0 or 1e-3 <= abs(value) < 999.5:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.1e}"
