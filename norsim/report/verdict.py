"""The verdict at the top of a report: accuracies, losses between them, and the proof."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from norsim.backends.registry import BACKENDS, gives_integers
from norsim.evaluation.attribution import Loss, paired_loss
from norsim.evaluation.end_to_end import EndToEnd, in_words
from norsim.evaluation.metrics import ACCURACY
from norsim.experiments.run_record import Answers, Missing, RunRecord
from norsim.quantization.by_layer.bits import label_of_rows
from norsim.tiling.macs import below_share

MOST_NAMED = 4


@dataclass(frozen=True)
class Row:
    """An accuracy with its 95 % interval, as shares; None if not measured."""

    key: str
    label: str
    accuracy: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Lost:
    """Points lost from one row to another; `ci95`, if known, from the images that only one of them gets right."""

    key: str
    label: str
    points: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Verdict:
    """`headline`  the result in one sentence
    `proof`     the evidence for it, one sentence per item
    `metric`    what the accuracies are values of, where that is not the share of right classes
    `warning`   what makes the result say little, if anything does
    """

    headline: str
    rows: tuple[Row, ...]
    lost: tuple[Lost, ...]
    proof: tuple[str, ...]
    metric: str | None = None
    warning: str | None = None

    def shown(self, accuracy: float) -> str:
        """Return an accuracy in percent, or the value of the metric."""
        return f"{accuracy:.4g}" if self.metric else f"{100 * accuracy:.2f} %"


def verdict(record: RunRecord) -> Verdict | None:
    """Return the verdict of an evaluation; None for a run without accuracies."""
    if not record.evaluated:
        return None
    rows, proof = _rows(record), tuple(_proof(record))
    metric = str(record.summary.get("metric") or ACCURACY)
    if metric != ACCURACY:
        return Verdict(_headline_of_metric(record, metric), rows, (), proof, metric, _warning(record))
    return Verdict(_headline(record, rows), rows, tuple(_losses(record, rows)), proof, warning=_warning(record))


def _warning(record: RunRecord) -> str | None:
    share = record.summary.get("macs_share")
    if share is None or gives_integers(record.summary["backend"]):
        return None
    found = below_share(share, record.summary.get("macs_digital", {}))
    return f"{found[0].upper()}{found[1:]}." if found else None


def _rows(record: RunRecord) -> tuple[Row, ...]:
    summary = record.summary
    labels = {
        "accuracy_float": "float", "accuracy_quantized": f"{label_of_rows(summary['layers'])}, digital",
        "accuracy": f"on the array ({summary['backend']})",
    }  # fmt: skip
    return tuple(Row(key, label, summary.get(key), _pair(summary.get(f"{key}_ci95"))) for key, label in labels.items())


def _pair(ends: object) -> tuple[float, float] | None:
    return (float(ends[0]), float(ends[1])) if isinstance(ends, (list, tuple)) else None


def _headline(record: RunRecord, rows: tuple[Row, ...]) -> str:
    summary, array = record.summary, rows[-1]
    name = f"{summary['network'] or 'The network'} classifies {100 * summary['accuracy']:.2f} %"
    within = f" ({100 * array.ci95[0]:.1f} to {100 * array.ci95[1]:.1f} %)" if array.ci95 else ""
    images = f"of {summary['images']} test images of {summary['dataset'] or 'a user-supplied data set'}"
    if gives_integers(summary["backend"]):
        return f"{name}{within} {images} correctly in integers; no array was read."
    return f"{name}{within} {images} correctly on the array{_share_on_array(record)}."


def _headline_of_metric(record: RunRecord, metric: str) -> str:
    summary = record.summary
    where = "in integers; no array was read" if gives_integers(summary["backend"]) else "on the array"
    images = f"{summary['images']} test inputs of {summary['dataset'] or 'a user-supplied data set'}"
    value = f"{metric} of {summary['network'] or 'the network'} is {summary['accuracy']:.4g} on {images}, {where}"
    return f"{value}{'' if gives_integers(summary['backend']) else _share_on_array(record)}."


def _share_on_array(record: RunRecord) -> str:
    """Name the layers on the array, unless all are, and the share of the multiply-accumulates there, if it is known."""
    layers, share = record.summary["layers"], record.summary.get("macs_share")
    there = [str(layer["name"]) for layer in layers if not gives_integers(layer["backend"])]
    products = "" if share is None else f"{100 * share:.1f} % of its multiply-accumulates"
    if len(there) == len(layers):
        return f", which does {products}" if products else ""
    named = ", ".join(there) if len(there) <= MOST_NAMED else f"{there[0]} to {there[-1]}"
    beside = f" and {products}" if products else ""
    return f", with {len(there)} of its {len(layers)} layers{beside} there ({named}) and the others digital"


def _losses(record: RunRecord, rows: tuple[Row, ...]) -> list[Lost]:
    """Return the losses from float to the quantized network, from there to the array, and in total."""
    full, quantized, array = rows
    answers, one_chip = record.answers, "trials" not in record.summary
    kinds = {"accuracy_float": "full", "accuracy_quantized": "quantized", "accuracy": "array"}

    def lost(key: str, label: str, before: Row, after: Row) -> Lost | None:
        if before.accuracy is None or after.accuracy is None:
            return None
        points, loss = 100 * (before.accuracy - after.accuracy), None
        if isinstance(answers, Answers) and (one_chip or after is not array):
            loss = _paired(answers, kinds[before.key], kinds[after.key])
        return Lost(key, label, points, loss.ci95 if loss else None)

    found = [
        lost("drop_quantization", "by quantization", full, quantized),
        lost("drop_array", "by the array", quantized, array),
        lost("drop_points", "from float to the array", full, array),
    ]
    return [one for one in found if one]


def _paired(answers: Answers, before: str, after: str) -> Loss | None:
    first, second = getattr(answers, before), getattr(answers, after)
    return None if first is None or second is None else paired_loss(first, second, answers.labels)


def _proof(record: RunRecord) -> list[str]:
    summary = record.summary
    proof, name = summary["verification"], str(summary["backend"])
    if gives_integers(name):
        return ["Not measured: the run computed integers and read no array."]
    backend = BACKENDS.get(name)
    simulator = backend.simulator if backend else None
    says = [_end_to_end(summary)] if summary.get("end_to_end") else []
    says += [f"{simulator.name} itself solved every read on the array, tile by tile."] if simulator else []
    parts = [proof.get(key) or {} for key in ("tiles", "passes")]
    if not proof["samples"] and not any(part.get("reads") for part in parts):
        return [*says, "Not measured: no read was solved again. `norsim verify` can still do it."]
    says += _of_parts(*parts)
    says += _of_sample(summary, proof)
    worst = [part["max_error_full_scale"] for part in (proof, *parts) if part.get("max_error_full_scale") is not None]
    return [*says, _bound(max(worst), name, _check(record, "tolerance")), *_steps(record, proof, *parts)]


def _end_to_end(summary: Mapping[str, Any]) -> str:
    known = {part.name for part in fields(EndToEnd)}
    return in_words(EndToEnd(**{key: value for key, value in summary["end_to_end"].items() if key in known}))


def _of_parts(tiles: Mapping[str, Any], passes: Mapping[str, Any]) -> list[str]:
    """Return what the reads of every tile, and those of every pass of every layer, showed."""
    kinds = ((tiles, " of every tile"), (passes, ", one of each pass of each layer,"))
    return [
        f"{part['reads']} reads{kind} were solved again by {part['witness']}: largest deviation "
        f"{part['max_error_full_scale']:.1e} of full scale, {part['max_error_steps']:.2g} converter steps, in "
        f"{part['worst_tile']}."
        for part, kind in kinds
        if part.get("reads")
    ]


def _of_sample(summary: Mapping[str, Any], proof: Mapping[str, Any]) -> list[str]:
    if not proof["samples"]:
        return []
    # Runs before version 0.2 did not record their witness: the simulator that programmed the chip.
    older = "ngspice" if (summary.get("versions") or {}).get("ngspice") else "neospice"
    steps, worse = proof.get("max_error_steps"), proof.get("worse_fraction_95")
    drawn = ", drawn at random from all reads," if worse is not None else ""
    in_steps = "" if steps is None else f", {steps:.2g} converter steps"
    bound = [] if worse is None else [f"With 95 % confidence, at most {100 * worse:.1f} % of all reads deviate more."]
    ends = proof["adc_mismatch_ci95"]
    return [
        f"{proof['samples']} reads{drawn} were solved again by {proof.get('witness') or older}. Largest deviation "
        f"{proof['max_error_full_scale']:.1e} of full scale{in_steps}, "
        f"root mean square {proof['rms_error_full_scale']:.1e} of full scale.",
        *bound,
        f"Converter codes that differ: {100 * proof['adc_mismatch_fraction']:.2f} % "
        f"({100 * ends[0]:.2f} to {100 * ends[1]:.2f} %); a current at the edge between two codes may fall to either "
        "side, however small the deviation.",
    ]


def _steps(record: RunRecord, *parts: Mapping[str, Any]) -> list[str]:
    """Return whether the deviations meet the requested bound in converter steps, if there is one."""
    tolerance = _check(record, "tolerance_steps")
    worst = [part["max_error_steps"] for part in parts if part.get("max_error_steps") is not None]
    if tolerance is None or not worst:
        return []
    met = "met" if max(worst) <= tolerance else "NOT met"
    return [f"The requested bound, {tolerance:g} converter steps, is {met}."]


def _bound(worst: float, backend: str, tolerance: float | None) -> str:
    if tolerance is not None:
        met = "met" if worst <= tolerance else "NOT met"
        return f"The requested bound, {tolerance:g} of full scale, is {met}."
    claimed = BACKENDS[backend].claimed_error if backend in BACKENDS else None
    if claimed is None:
        return f"No bound is claimed for {backend}, the reference; the second solve shows its repeatability."
    if worst <= claimed:
        return f"That is within the {claimed:g} that norsim claims for {backend} on wires like the preset's."
    return f"That is MORE than the {claimed:g} that norsim claims for {backend} on wires like the preset's."


def _check(record: RunRecord, name: str) -> float | None:
    """Return a bound that the run was given; None if it had none or did not record it."""
    if isinstance(record.origin, Missing):
        return None
    found = (record.origin.manifest.get("checks") or {}).get(name)
    return None if found is None else float(found)


def command_line(record: RunRecord) -> str | None:
    """Return the command that repeats the run, quoted for a shell."""
    return None if isinstance(record.origin, Missing) else shlex.join(map(str, record.origin.manifest["command"]))
