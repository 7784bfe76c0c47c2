"""The first thing a report says: the accuracies, what was lost between them, and the proof."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from norsim.backends.registry import simulator_of
from norsim.evaluation.attribution import Loss, paired_loss
from norsim.experiments.run_record import Answers, Material, Missing

MOST_NAMED = 4
# Of full scale, on wires like those of the preset: what docs/performance.md claims of each, and measures.
CLAIMED = {"nodal": 1e-5, "macro": 1e-4}


@dataclass(frozen=True)
class Row:
    """An accuracy with its 95 % interval, all shares, or None where it was not measured."""

    key: str
    label: str
    accuracy: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Lost:
    """Points lost from one row to another; `ci95`, from the images that only one of them gets right, where known."""

    key: str
    label: str
    points: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Verdict:
    """`headline`  the result in one sentence
    `proof`     how far the run is to be trusted, a sentence each
    """

    headline: str
    rows: tuple[Row, ...]
    lost: tuple[Lost, ...]
    proof: tuple[str, ...]


def verdict(material: Material) -> Verdict | None:
    """The verdict of an evaluation; None for a run that has no accuracies."""
    if not material.evaluated:
        return None
    rows = _rows(material)
    return Verdict(_headline(material, rows), rows, tuple(_losses(material, rows)), tuple(_proof(material)))


def _rows(material: Material) -> tuple[Row, ...]:
    summary = material.summary
    labels = {
        "accuracy_float": "float", "accuracy_quantized": "4-bit, digital",
        "accuracy": f"on the array ({summary['backend']})",
    }  # fmt: skip
    return tuple(Row(key, label, summary.get(key), _pair(summary.get(f"{key}_ci95"))) for key, label in labels.items())


def _pair(ends: object) -> tuple[float, float] | None:
    return (float(ends[0]), float(ends[1])) if isinstance(ends, (list, tuple)) else None


def _headline(material: Material, rows: tuple[Row, ...]) -> str:
    summary, array = material.summary, rows[-1]
    name = f"{summary['network'] or 'The network'} classifies {100 * summary['accuracy']:.2f} %"
    within = f" ({100 * array.ci95[0]:.1f} to {100 * array.ci95[1]:.1f} %)" if array.ci95 else ""
    images = f"of {summary['images']} test images of {summary['dataset'] or 'a data set of its own'}"
    if summary["backend"] == "ideal":
        return f"{name}{within} {images} right in integers; no array was read."
    return f"{name}{within} {images} right on the array{_share_on_array(material)}."


def _share_on_array(material: Material) -> str:
    """Which layers are on the array, where not all are."""
    layers = material.summary["layers"]
    there = [str(layer["name"]) for layer in layers if layer["backend"] != "ideal"]
    if len(there) == len(layers):
        return ""
    named = ", ".join(there) if len(there) <= MOST_NAMED else f"{there[0]} to {there[-1]}"
    return f", with {len(there)} of its {len(layers)} layers there ({named}) and the others digital"


def _losses(material: Material, rows: tuple[Row, ...]) -> list[Lost]:
    """From float to 4 bit, from 4 bit to the array, and over all."""
    full, quantized, array = rows
    answers, one_chip = material.answers, "trials" not in material.summary
    kinds = {"accuracy_float": "full", "accuracy_quantized": "quantized", "accuracy": "array"}

    def lost(key: str, label: str, before: Row, after: Row) -> Lost | None:
        if before.accuracy is None or after.accuracy is None:
            return None
        points, loss = 100 * (before.accuracy - after.accuracy), None
        if isinstance(answers, Answers) and (one_chip or after is not array):
            loss = _paired(answers, kinds[before.key], kinds[after.key])
        return Lost(key, label, points, loss.ci95 if loss else None)

    found = [
        lost("drop_quantization", "by 4 bits", full, quantized),
        lost("drop_array", "by the array", quantized, array),
        lost("drop_points", "from float to the array", full, array),
    ]
    return [one for one in found if one]


def _paired(answers: Answers, before: str, after: str) -> Loss | None:
    first, second = getattr(answers, before), getattr(answers, after)
    return None if first is None or second is None else paired_loss(first, second, answers.labels)


def _proof(material: Material) -> list[str]:
    summary = material.summary
    proof, backend = summary["verification"], str(summary["backend"])
    if backend == "ideal":
        return ["Not measured: integers were computed, and no read was made that a circuit could prove."]
    simulator = simulator_of(backend)
    says = [f"{simulator.name} itself solved every read on the array, tile by tile."] if simulator else []
    if not proof["samples"]:
        return [*says, "Not measured: no read was solved again (--spice-sample 0). `norsim verify` can do it now."]
    # What the chip was programmed by is the witness, too: ngspice, unless NORSIM_SIMULATOR had another.
    witness = "ngspice" if (summary.get("versions") or {}).get("ngspice") else "neospice"
    says.append(
        f"{proof['samples']} reads were solved again by {witness}, each alone. Largest deviation "
        f"{proof['max_error_full_scale']:.1e} of full scale, root mean square {proof['rms_error_full_scale']:.1e}."
    )
    says.append(_bound(proof["max_error_full_scale"], backend, _tolerance(material)))
    ends = proof["adc_mismatch_ci95"]
    says.append(
        f"Converter codes that differ: {100 * proof['adc_mismatch_fraction']:.2f} % "
        f"({100 * ends[0]:.2f} to {100 * ends[1]:.2f} %); a current at the edge between two codes may get either, "
        "however small the deviation."
    )
    return says


def _bound(worst: float, backend: str, tolerance: float | None) -> str:
    if tolerance is not None:
        met = "met" if worst <= tolerance else "NOT met"
        return f"The bound that was asked for, {tolerance:g} of full scale, is {met}."
    claimed = CLAIMED.get(backend)
    if claimed is None:
        return f"No bound is claimed of {backend}: it is the reference, and the second solve shows its own spread."
    if worst <= claimed:
        return f"That is within the {claimed:g} that norsim claims of {backend} on wires like the preset's."
    return f"That is MORE than the {claimed:g} that norsim claims of {backend} on wires like the preset's."


def _tolerance(material: Material) -> float | None:
    """Return the largest error that the run allowed, in full scale; None if it had no bound or did not record it."""
    if isinstance(material.origin, Missing):
        return None
    found = (material.origin.manifest.get("checks") or {}).get("tolerance")
    return None if found is None else float(found)


def command_line(material: Material) -> str | None:
    """The command that repeats the run, as a shell takes it."""
    return None if isinstance(material.origin, Missing) else shlex.join(map(str, material.origin.manifest["command"]))
