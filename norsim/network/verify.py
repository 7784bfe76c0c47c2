"""The proof that goes with every number: a sample of a run's reads, solved again by ngspice, one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any

import numpy as np
from scipy.stats import binomtest

from norsim.array.tile import Floats, Stimulus
from norsim.backends import read_all
from norsim.network.placement import PlacedTile, TileRead


@dataclass(frozen=True)
class Verification:
    """How far a run is from ngspice, over `samples` reads of (layer, tile, vector, pass).

    Errors are in units of each tile's full scale, over all outputs of the sampled reads;
    `adc_mismatch_fraction` is the share of converter codes that differ, with Wilson's 95 % interval.
    All but `samples` are None where nothing was sampled.
    """

    samples: int
    max_error_full_scale: float | None = None
    rms_error_full_scale: float | None = None
    adc_mismatch_fraction: float | None = None
    adc_mismatch_ci95: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """One read of the run: where it was made, its volts, and what the run took from it."""

    key: float
    part: PlacedTile
    stimulus: Stimulus
    amps: Floats
    adc: np.ndarray


class Sampler:
    """Watches a run's reads and keeps a seeded sample of them, the same number of every tile.

    `reads`     reads made, by layer
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.random = np.random.default_rng([seed, 2])
        self.kept: dict[str, list[Sample]] = {}
        self.reads: Counter[str] = Counter()

    def observe(self, part: PlacedTile, stimulus: Stimulus, result: TileRead) -> None:
        """Take note of one tile's reads."""
        self.reads[part.layer.name] += stimulus.vectors
        keys = self.random.random(stimulus.vectors)
        amps = result.amps.reshape(stimulus.vectors, -1)
        adc = result.adc.reshape(stimulus.vectors, -1)
        new = [
            Sample(keys[k], part, stimulus.take(slice(k, k + 1)), amps[k], adc[k])
            for k in np.argsort(keys)[: self.count]
        ]
        kept = [*self.kept.get(part.name, []), *new]
        self.kept[part.name] = sorted(kept, key=lambda sample: sample.key)[: self.count]

    def samples(self) -> list[Sample]:
        """The chosen ones: one of each tile, the tiles in random order, then a second, until the count is reached."""
        rounds = zip_longest(*sorted(self.kept.values(), key=lambda kept: kept[0].key))
        return list(islice((sample for turn in rounds for sample in turn if sample), self.count))

    def verify(self, jobs: int) -> Verification:
        """Solve the sample again from its decks, every read alone and from a cold start."""
        chosen = self.samples()
        if not chosen:
            return Verification(0)
        requests = [(sample.part.tile(), sample.stimulus) for sample in chosen]
        errors, differ = [], []
        for sample, currents in zip(chosen, read_all(requests, "ngspice", jobs), strict=True):
            reference = sample.part.amps(currents)[0]
            errors.append((sample.amps - reference) / sample.part.full_scale_amps)
            differ.append(sample.adc != sample.part.adc.convert(reference))
        return _verification(len(chosen), np.concatenate(errors), np.concatenate(differ))


def _verification(samples: int, errors: Floats, differ: np.ndarray[Any, np.dtype[np.bool_]]) -> Verification:
    interval = binomtest(int(differ.sum()), len(differ)).proportion_ci(0.95, method="wilson")
    return Verification(
        samples,
        float(np.abs(errors).max()),
        float(np.sqrt(np.square(errors).mean())),
        float(differ.mean()),
        (float(interval.low), float(interval.high)),
    )
