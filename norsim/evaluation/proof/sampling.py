"""The reads of a run that are kept for its proof. Each read gets one random key, and the smallest keys are kept.

Keys are independent and uniform, so the reads with the smallest keys of any group are a simple random sample of it
without replacement, whoever observed them and in whichever order (the order of random keys is a random permutation:
Knuth, The Art of Computer Programming 2, section 3.4.2). The same keys serve three groups: the reads of a tile, the
reads of a pass of a layer, and all reads of the run.

Those of a layer's passes are on one tile, which is drawn in the same way, by a random key of each tile. A simulator
spends most of its time on a large deck before its first read: ngspice takes a minute or two to order the equations of
256 x 128 cells, and seconds for each further read.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats, Stimulus
from norsim.evaluation.proof.defaults import AT_RANDOM, PER_TILE
from norsim.periphery.code_vectors import LayerCodes
from norsim.periphery.encoding import Codes
from norsim.random_streams import Stream, generator
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.tile import ObservedRead, PlacedTile

# So many times the reads that are wanted are looked at.
MANY = 8


class Keyed(Protocol):
    """A read with its random key, its tile, and its pass."""

    @property
    def key(self) -> float:
        """The random number of the read, uniform in 0 to 1."""

    @property
    def tile_key(self) -> float:
        """The random number of its tile, uniform in 0 to 1."""

    @property
    def part(self) -> PlacedTile:
        """The tile that was read."""

    @property
    def pass_index(self) -> int:
        """The pass of the vector, from 0."""


Read = TypeVar("Read", bound=Keyed)


@dataclass(frozen=True, eq=False)
class Sample:
    """One read of the run: its place, its volts, and its results.

    `stimulus`  the volts of its slots, of which most encodings have one
    `amps`, `adc`   `[conversions]`: amperes and converter codes
    `array`     the programmed array of its tile, if it is in memory
    `line_noise`   `[lines]`, amperes: what noise of the cells added to the lines' currents; None without
    `key`, `tile_key`   the random numbers of the read and of its tile
    """

    key: float
    part: PlacedTile
    stimulus: Stimulus
    amps: Floats
    adc: NDArray[np.int32]
    array: ProgrammedTile | None = None
    pass_index: int = 0
    line_noise: Floats | None = None
    tile_key: float = 0.0


def tile_of(read: Keyed) -> Hashable:
    """Return the chip and the tile of a read."""
    return read.part.chip.draw.chip, read.part.name


def pass_of(read: Keyed) -> Hashable:
    """Return the layer and the pass of a read."""
    return read.part.layer.name, read.pass_index


def run_of(read: Keyed) -> Hashable:
    """Return the same for all reads."""
    return None


def drawn(reads: Iterable[Read], count: int, group: Callable[[Keyed], Hashable] = run_of) -> list[Read]:
    """Return the `count` reads with the smallest keys of each group, in the order of their keys."""
    taken: Counter[Hashable] = Counter()
    found = []
    for read in sorted(reads, key=lambda read: (read.key, read.part.name, read.pass_index)):
        taken[group(read)] += 1
        if taken[group(read)] <= count:
            found.append(read)
    return found


def drawn_of_passes(reads: Iterable[Read], count: int) -> list[Read]:
    """Return the `count` reads with the smallest keys of every pass of every layer, on the tile of the layer with the
    smallest key. They are in the order of tiles, then of keys."""
    known, lowest = list(reads), dict[str, float]()
    for read in known:
        lowest[read.part.layer.name] = min(lowest.get(read.part.layer.name, 1.0), read.tile_key)
    chosen = drawn((read for read in known if read.tile_key == lowest[read.part.layer.name]), count, pass_of)
    return sorted(chosen, key=lambda read: read.tile_key)


@dataclass(frozen=True)
class Quota:
    """The number of reads that a run keeps.

    `per_tile`   of every tile of every chip
    `per_pass`   of every pass of every layer, on one of its tiles
    `at_random`  of all reads
    """

    per_tile: int = PER_TILE
    per_pass: int = 1
    at_random: int = AT_RANDOM

    @classmethod
    def for_sample(cls, spice_sample: int) -> Quota:
        """Return the usual quota, with enough reads at random to solve `spice_sample` of them again."""
        return cls(at_random=max(spice_sample, AT_RANDOM))

    def groups(self, reads: Sequence[Read]) -> tuple[list[Read], ...]:
        """Return the reads to keep of tiles, of passes, and of all."""
        return (
            drawn(reads, self.per_tile, tile_of), drawn_of_passes(reads, self.per_pass), drawn(reads, self.at_random),
        )  # fmt: skip

    def keep(self, reads: Sequence[Read]) -> list[Read]:
        """Return the reads to keep, in the order of their keys. They do not depend on the order of `reads`."""
        kept = {id(read): read for group in self.groups(reads) for read in group}
        return sorted(kept.values(), key=lambda read: read.key)


@dataclass
class KeptReads:
    """The reads that a run keeps, collected from its batches in any order; `quota` is what to keep."""

    quota: Quota
    samples: list[Sample] = field(default_factory=list)

    def add(self, samples: Sequence[Sample]) -> None:
        """Add the reads kept from one batch."""
        self.samples = self.quota.keep([*self.samples, *samples])


@dataclass(frozen=True, eq=False)
class Drawn:
    """A read as it is kept during a batch: `codes` `[inputs]` of its tile; its volts are computed only at the end.

    The other arrays are those of `Sample`.
    """

    key: float
    part: PlacedTile
    pass_index: int
    array: ProgrammedTile
    codes: Codes
    amps: Floats
    adc: NDArray[np.int32]
    line_noise: Floats | None
    tile_key: float

    def sample(self) -> Sample:
        """Return the read with its volts."""
        slots = self.part.slots
        own = slice(self.pass_index * slots, (self.pass_index + 1) * slots)
        stimulus = self.array.drive(self.codes[None]).take(own)
        return Sample(
            self.key, self.part, stimulus, self.amps, self.adc, self.array, self.pass_index, self.line_noise,
            self.tile_key,
        )  # fmt: skip


class Sampler:
    """An observer of a batch's reads, which draws their keys and keeps those of `quota`.

    The keys follow from the seed, the chip and the number of the batch.
    """

    def __init__(self, quota: Quota, seed: int, chip: int = 0, batch: int = 0) -> None:
        self.quota, self.seed = quota, seed
        self.random = generator(seed, Stream.PROOF_SAMPLE, chip, batch)
        # Of each group the kept reads, as a heap with the largest key on top; numbers break ties.
        self.heaps: dict[Hashable, list[tuple[float, int, Drawn]]] = {}
        # Of each layer the smallest key of its tiles.
        self.lowest: dict[str, float] = {}
        self.offers = 0

    def observe(self, part: PlacedTile, array: ProgrammedTile, codes: LayerCodes, result: ObservedRead) -> None:
        """Draw a key for each read of one tile by the layer's `codes`, `[vectors, inputs]`, and keep what is due."""
        vectors, passes, _ = result.shape
        keys = self.random.random((vectors, passes))
        chip, name = part.chip.draw.chip, part.layer.name
        at = chip, part.row, part.column, *name.encode()
        tile_key = float(generator(self.seed, Stream.PROOF_TILES, *at).random())
        groups: list[tuple[Hashable, int, slice]] = [
            (("tile", chip, part.name), self.quota.per_tile, slice(None)), ("run", self.quota.at_random, slice(None)),
        ]  # fmt: skip
        of_passes = [("pass", name, one) for one in range(passes)]
        if tile_key < self.lowest.get(name, 1.0):
            self.lowest[name] = tile_key
            for one in of_passes:
                self.heaps.pop(one, None)
        if tile_key == self.lowest[name]:
            groups += [(own, self.quota.per_pass, slice(own[2], None, passes)) for own in of_passes]
        places = np.arange(vectors * passes)
        due = [self._due(group, count, keys.reshape(-1)[own], places[own]) for group, count, own in groups]
        wanted, where = np.unique(np.concatenate(due) // passes, return_inverse=True)
        if not len(wanted):
            return
        read, inputs = result.take(wanted), part.codes(codes[wanted])
        made: dict[int, Drawn] = {}
        for place, row in zip(np.concatenate(due).tolist(), where.tolist(), strict=True):
            one, noise = place % passes, read.line_noise
            # Copies, because views would keep all of the reads in memory.
            made[place] = Drawn(
                float(keys[place // passes, one]), part, one, array, inputs[row].copy(),
                read.amps[row, one].astype(np.float64), read.adc[row, one].astype(np.int32),
                None if noise is None else noise[row, one].astype(np.float64), tile_key,
            )  # fmt: skip
        for (group, count, _), own in zip(groups, due, strict=True):
            self._offer(group, count, [made[place] for place in own.tolist()])

    def _due(self, group: Hashable, count: int, keys: Floats, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those `places` of reads with `keys`, both `[reads]`, that a group of `count` reads may keep."""
        heap = self.heaps.setdefault(group, [])
        if len(heap) == count:
            below = keys < -heap[0][0] if heap else np.zeros(len(keys), dtype=np.bool_)
            places, keys = places[below], keys[below]
        if len(keys) > MANY * count:
            # Keys are uniform below 1, so nearly always enough of them are below this share, which is fast to find.
            near = keys < MANY * count / len(keys)
            if np.count_nonzero(near) >= count:
                places, keys = places[near], keys[near]
        if len(keys) > count:
            places = places[np.argpartition(keys, count - 1)[:count]] if count else places[:0]
        return places

    def _offer(self, group: Hashable, count: int, reads: Sequence[Drawn]) -> None:
        """Offer reads to a group that keeps `count` reads."""
        heap = self.heaps[group]
        for read in reads:
            self.offers += 1
            if len(heap) < count:
                heapq.heappush(heap, (-read.key, self.offers, read))
            else:
                heapq.heappushpop(heap, (-read.key, self.offers, read))

    def kept(self) -> list[Drawn]:
        """Return the kept reads, in the order of their keys."""
        found = {id(read): read for heap in self.heaps.values() for _, _, read in heap}
        return sorted(found.values(), key=lambda read: read.key)

    def samples(self) -> list[Sample]:
        """Return the kept reads with their volts, in the order of their keys."""
        return [read.sample() for read in self.kept()]


def count_by_layer(samples: Iterable[Keyed]) -> dict[str, int]:
    """Return the number of reads of each layer, in the order of names."""
    return dict(sorted(Counter(sample.part.layer.name for sample in samples).items()))
