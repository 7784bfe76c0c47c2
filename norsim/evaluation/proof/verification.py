"""The verification of a run: some of its reads, solved again by other solvers.

It has three parts, drawn from the reads of the run by norsim.evaluation.proof.sampling: a few reads of every tile by
the rung above the run's backend, one read of every pass of every layer, on one of its tiles, by a simulator, and a
simple random sample of all reads by the simulator. If n reads of a random sample have a largest error e, then with 95 %
confidence at most a share of 1 - 0.05^(1/n) of all reads has a larger one, whatever the distribution (Wilks, Ann. Math.
Stat. 12, 1941).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Currents, Floats, Tile
from norsim.backends.backend import Backend
from norsim.errors import ThresholdError
from norsim.evaluation.intervals import Interval, share_over_groups
from norsim.evaluation.proof.defaults import PER_TILE
from norsim.evaluation.proof.sampling import Sample, count_by_layer, drawn, drawn_of_passes, tile_of
from norsim.jobs.phases import Report, silent
from norsim.jobs.workers import HERE, Unit, Workers
from norsim.tiling.program import ProgrammedTile, program_tile
from norsim.tiling.read_noise import tile_of_read

# Reads in a deck, and reads of the random sample in a round of a verification with a time limit.
READS_PER_DECK, READS_PER_ROUND = 16, 8
CONFIDENCE = 0.95


@dataclass(frozen=True)
class PartOfProof:
    """One part of the proof: `reads` of `drawn` reads were solved again by `witness`.

    Errors are the largest deviations of a current, in converter steps and in full scale of the tile; `worst_tile` has
    the largest in full scale.
    """

    witness: str
    drawn: int
    reads: int
    max_error_steps: float | None
    max_error_full_scale: float | None
    worst_tile: str | None


@dataclass(frozen=True)
class Verification:
    """The deviation of a run from other solvers.

    All but `tiles` and `passes` are about a simple random sample of all reads, solved again by the simulator `witness`.
    `samples` of the `drawn` reads were solved, `layers` counts them by layer; fewer than all if the time was over.
    Errors are over all outputs of these reads, in converter steps and in units of each tile's full scale. With 95 %
    confidence, at most a share `worse_fraction_95` of all reads of the run has a larger error than the largest one in
    the sample. `adc_mismatch_fraction` is the share of converter codes that differ, with a 95 % interval by bootstrap
    over reads, because outputs of one read are not independent. All but `samples` are None if nothing was sampled.

    `tiles`     a few reads of every tile, solved by the next rung of the ladder; None if there is none
    `passes`    one read of every pass of every layer, on one of its tiles, solved by the simulator; None if not asked
                for
    """

    samples: int
    layers: dict[str, int] = field(default_factory=dict)
    max_error_steps: float | None = None
    max_error_full_scale: float | None = None
    rms_error_full_scale: float | None = None
    worse_fraction_95: float | None = None
    adc_mismatch_fraction: float | None = None
    adc_mismatch_ci95: Interval | None = None
    witness: str | None = None
    drawn: int = 0
    tiles: PartOfProof | None = None
    passes: PartOfProof | None = None


@dataclass(frozen=True, eq=False)
class Deviation:
    """The deviation of one read `[conversions]`: amperes, and whether converter codes differ."""

    sample: Sample
    amps: Floats
    differ: NDArray[np.bool_]

    @property
    def full_scale(self) -> Floats:
        """The deviation of each output's current, in units of the tile's full scale."""
        return self.amps / self.sample.part.full_scale_amps

    @property
    def steps(self) -> Floats:
        """The deviation of each output's current, in steps of its converter."""
        return self.amps / self.sample.part.ranges.step_amps


Solved = Mapping[int, Deviation]


def verify(
    samples: Sequence[Sample],
    workers: Workers,
    witness: Backend,
    count: int,
    *,
    each_pass: bool = False,
    seconds: float | None = None,
    rungs: Mapping[str, Backend] | None = None,
    report: Report = silent,
) -> Verification:
    """Solve kept reads of a run again, and return its deviation.

    `witness` solves the `count` reads with the smallest keys and, with `each_pass`, one read of every pass of every
    layer. Reads of one tile share decks, in which a solve starts from the one before; a read with noise of the cells
    has a deck of its own, with thresholds drawn for the read whose deviations add up to the run's on each line
    (norsim.tiling.read_noise). After `seconds` no more decks are started. `rungs` are the backends that solve the reads
    of every tile, by layer; layers without one are left out. `report("proof ...", done, total)` counts reads.
    """
    at_random = drawn(samples, count)
    passes = drawn_of_passes(samples, 1) if each_pass and count else []
    pieces = decks(at_random, passes, seconds is not None)
    solved = _solve(pieces, workers, witness, seconds, partial(report, f"proof {witness.name}"))
    # A read that is done although an earlier one in random order is not says nothing about a share of all reads.
    in_order = len(list(takewhile(lambda sample: id(sample) in solved, at_random)))
    found = _of_sample([solved[id(sample)] for sample in at_random if id(sample) in solved], in_order, witness)
    return replace(
        found, drawn=len(at_random), tiles=_of_tiles(samples, rungs or {}, report),
        passes=_part(passes, solved, witness.name) if passes else None,
    )  # fmt: skip


def decks(at_random: Sequence[Sample], passes: Sequence[Sample], in_rounds: bool) -> list[list[Sample]]:
    """Return the reads as decks: reads of one tile, at most READS_PER_DECK, each slot of a read counting as one. In
    rounds, both kinds advance equally, and reads of passes on one tile stay together.

    Both are in random order, so a verification that ends early has done a random part of each.
    """
    size = READS_PER_ROUND if in_rounds else max(len(at_random), 1)
    rounds = max(-(-len(at_random) // size), 1)
    circuits = list(_by_circuit(passes))
    share = max(-(-len(circuits) // rounds), 1)
    seen: set[Sample] = set()
    found: list[list[Sample]] = []
    for one in range(rounds):
        both = chain(at_random[one * size : (one + 1) * size], *circuits[one * share : (one + 1) * share])
        # A read can be of both kinds.
        new = [sample for sample in dict.fromkeys(both) if sample not in seen]
        seen.update(new)
        for own in _by_circuit(new):
            each = max(READS_PER_DECK // own[0].part.slots, 1)
            found += [own[start : start + each] for start in range(0, len(own), each)]
    return found


def _by_circuit(samples: Iterable[Sample]) -> Collection[list[Sample]]:
    """Return the reads of each circuit, in their order."""
    found: dict[Hashable, list[Sample]] = {}
    for sample in samples:
        found.setdefault(circuit_of(sample), []).append(sample)
    return found.values()


def circuit_of(sample: Sample) -> Hashable:
    """Return the same for reads of the same circuit: a tile, or one read of it that has noise of its own."""
    return tile_of(sample) if sample.line_noise is None else id(sample)


def tiles_of(samples: Sequence[Sample]) -> list[Tile]:
    """Return the tile that each sample was read from, programmed now if it is not in memory, with the read's noise."""
    known: dict[object, ProgrammedTile] = {}
    found = []
    for sample in samples:
        place, noise = tile_of(sample), sample.line_noise
        array = known.setdefault(place, known.get(place) or sample.array or program_tile(sample.part))
        found.append(array.tile if noise is None else tile_of_read(sample.part, array, sample.stimulus, noise))
    return found


def worse_fraction(samples: int) -> float:
    """Return the largest share of reads that may be worse than the worst of `samples` random ones, at 95 %."""
    return 1.0 - (1.0 - CONFIDENCE) ** (1.0 / samples) if samples else 1.0


def largest_errors(found: Verification) -> list[tuple[str, float | None, float | None]]:
    """Return for each part of a verification: what it is, the largest error in full scale, and in converter steps."""
    parts = [("the random sample of reads", found.samples, found.max_error_full_scale, found.max_error_steps)]
    for part, kind in ((found.tiles, "every tile"), (found.passes, "every pass of every layer")):
        if part is not None:
            parts.append((f"the reads of {kind}", part.reads, part.max_error_full_scale, part.max_error_steps))
    return [(what, full_scale, steps) for what, reads, full_scale, steps in parts if reads]


def check_errors(found: Verification, tolerance: float | None, steps: float | None) -> None:
    """Raise ThresholdError if the largest error of any part is above a limit, in full scale or in converter steps."""
    for what, in_full_scale, in_steps in largest_errors(found):
        for error, limit, unit in ((in_full_scale, tolerance, "full scale"), (in_steps, steps, "converter steps")):
            if limit is not None and error is not None and not error <= limit:
                size = f"{error:.2e} of {unit}" if unit == "full scale" else f"{error:.3g} {unit}"
                raise ThresholdError(f"in {what}, the largest error of {size} is above the tolerance of {limit:g}")


def _solve(
    pieces: Sequence[Sequence[Sample]],
    workers: Workers,
    witness: Backend,
    seconds: float | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Deviation]:
    """Solve decks by `witness` until the time is over, at least one; return the deviations by `id` of the read."""
    until = None if seconds is None else time.monotonic() + seconds
    found: dict[int, Deviation] = {}
    # Slots repeat drives, each of which is solved once: where the currents of a deck's slots are.
    again: dict[int, NDArray[np.int64]] = {}
    total = sum(map(len, pieces))
    if total:
        progress(0, total)

    def units() -> Iterator[Unit]:
        for place, deck in enumerate(pieces):
            if place and until is not None and time.monotonic() > until:
                return
            (tile,), stimulus = tiles_of(deck[:1]), joined(deck)
            if deck[0].part.slots > 1:
                stimulus, again[place] = stimulus.distinct()
            yield Unit(place, tile.name, (tile, stimulus))

    def done(place: int, currents: Currents) -> None:
        slots = pieces[place][0].part.slots
        whole = currents.take(again.pop(place)) if place in again else currents
        for k, sample in enumerate(pieces[place]):
            own = whole.take(slice(k * slots, (k + 1) * slots))
            found[id(sample)] = _deviation(sample, sample.part.amps(own)[0])
        progress(len(found), total)

    workers.run(witness.read, units(), done)
    return found


def joined(deck: Sequence[Sample]) -> Any:
    """Return the volts of the reads of one tile as one stimulus."""
    wordlines, bitlines = (
        np.concatenate([getattr(sample.stimulus, name) for sample in deck])
        for name in ("wordline_volts", "bitline_volts")
    )
    return replace(deck[0].stimulus, wordline_volts=wordlines, bitline_volts=bitlines, notes=())


def _deviation(sample: Sample, reference: Floats) -> Deviation:
    # With noise, codes would differ by the noise alone, so they are converted again without it.
    noisy = sample.part.chip.converters.noise > 0
    codes = sample.part.convert(sample.amps) if noisy else sample.adc
    return Deviation(sample, sample.amps - reference, codes != sample.part.convert(reference))


def _of_sample(deviations: Sequence[Deviation], in_order: int, witness: Backend) -> Verification:
    if not deviations:
        return Verification(0)
    full_scale = np.concatenate([one.full_scale for one in deviations])
    differ = [int(one.differ.sum()) for one in deviations]
    share, interval = share_over_groups(differ, [len(one.differ) for one in deviations])
    return Verification(
        len(deviations), count_by_layer(one.sample for one in deviations),
        max(float(np.abs(one.steps).max()) for one in deviations), float(np.abs(full_scale).max()),
        float(np.sqrt(np.square(full_scale).mean())), worse_fraction(in_order), share, interval, witness.name,
    )  # fmt: skip


def _of_tiles(samples: Sequence[Sample], rungs: Mapping[str, Backend], report: Report) -> PartOfProof | None:
    """Solve the kept reads of every tile again by the rung of its layer, here, because it uses all cores."""
    chosen = drawn((sample for sample in samples if sample.part.layer.name in rungs), PER_TILE, tile_of)
    if not chosen:
        return None
    per_tile: dict[object, list[Sample]] = {}
    for sample in chosen:
        per_tile.setdefault(circuit_of(sample), []).append(sample)
    found: dict[int, Deviation] = {}
    for done, deck in enumerate(per_tile.values()):
        report(f"proof {deck[0].part.layer.name}, tiles", done, len(per_tile))
        found |= _solve([deck], HERE, rungs[deck[0].part.layer.name], None)
    names = sorted({rungs[name].name for name in count_by_layer(chosen)})
    return _part(chosen, found, ", ".join(names))


def _part(wanted: Sequence[Sample], solved: Solved, witness: str) -> PartOfProof:
    done = [solved[id(sample)] for sample in wanted if id(sample) in solved]
    if not done:
        return PartOfProof(witness, len(wanted), 0, None, None, None)
    largest: Callable[[Deviation], float] = lambda one: float(np.abs(one.full_scale).max())  # noqa: E731
    worst = max(done, key=largest)
    steps = max(float(np.abs(one.steps).max()) for one in done)
    return PartOfProof(witness, len(wanted), len(done), steps, largest(worst), worst.sample.part.name)
