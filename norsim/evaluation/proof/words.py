"""A verification in sentences."""

from __future__ import annotations

from norsim.evaluation.proof.verification import PartOfProof, Verification

# Why codes may differ although currents agree.
EDGES = " (a current at the edge between two codes can fall on either side)"


def sentences(found: Verification) -> list[str]:
    """Return one sentence for each part of a verification, without those that were not asked for."""
    parts = [_of_tiles(found.tiles), _of_passes(found.passes), _of_sample(found)]
    return [part for part in parts if part]


def _of_sample(found: Verification) -> str:
    if not found.samples:
        return ""
    worse, differ = 100 * (found.worse_fraction_95 or 0.0), found.adc_mismatch_fraction or 0.0
    low, high = (100 * end for end in found.adc_mismatch_ci95 or (0.0, 1.0))
    return (
        f"Random sample: {_many(found.samples, found.drawn, 'reads')} solved again by {found.witness}: largest error "
        f"{_errors(found.max_error_steps, found.max_error_full_scale)}, and with 95 % confidence at most {worse:.1f} % "
        f"of all reads have a larger one; differing converter codes {100 * differ:.2f} % ({low:.2f} to {high:.2f} %)"
        f"{EDGES if differ else ''}."
    )


def _of_tiles(part: PartOfProof | None) -> str:
    if part is None or not part.reads:
        return ""
    return f"Every tile: {part.reads} reads solved again by {part.witness}: {_worst(part)}."


def _of_passes(part: PartOfProof | None) -> str:
    if part is None or not part.reads:
        return ""
    many = _many(part.reads, part.drawn, "reads, one of each pass of each layer,")
    return f"Every layer and pass: {many} solved again by {part.witness}: {_worst(part)}."


def _many(done: int, drawn: int, what: str) -> str:
    return f"{done} {what}" if done == drawn else f"in the given time {done} of {drawn} {what}"


def _worst(part: PartOfProof) -> str:
    errors = _errors(part.max_error_steps, part.max_error_full_scale)
    return f"largest error {errors}, in {part.worst_tile}"


def _errors(steps: float | None, full_scale: float | None) -> str:
    return f"{steps or 0.0:.2g} converter steps, {full_scale or 0.0:.1e} of full scale"
