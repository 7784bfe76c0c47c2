"""Many reads at once, by workers; finished reads are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend, Progress
from norsim.jobs.unit_store import UnitStore, currents_of, currents_table, unit_key
from norsim.jobs.workers import HERE, Unit, Workers


def read_all(
    requests: Sequence[tuple[Tile, Stimulus]],
    backend: Backend,
    workers: Workers = HERE,
    progress: Progress | None = None,
    store: UnitStore | None = None,
) -> list[Currents]:
    """Return the currents of each of `requests`, in order, read by `workers`; `progress(done, total)` reports progress.

    Reads of a simulator are taken from `store` if it has them, and added to it otherwise. The key of such a unit is its
    deck, which holds the cell, the wires, all volts and options, with the content of files that the deck names, and the
    simulator's version. Raises SolveError with
    the number and names of the failed reads.
    """
    by = backend.simulator
    simulator = by.identity() if by else None
    kept = store if by else None
    currents: dict[int, Currents] = {}
    keys: dict[int, str] = {}

    def units() -> Iterator[Unit]:
        for place, (tile, stimulus) in enumerate(requests):
            if kept is not None and by is not None:
                named = [digest for _, digest in (*tile.cell.osdi, *tile.cell.verilog_a, *tile.cell.files)]
                keys[place] = unit_key(backend.name, simulator, by.deck(tile, stimulus), *named)
                found = kept.get(keys[place])
                if found is not None:
                    finish(place, currents_of(found))
                    continue
            yield Unit(place, tile.name, (tile, stimulus))

    def solved(place: int, result: Currents) -> None:
        if kept is not None:
            kept.put(keys[place], currents_table(result))
        finish(place, result)

    def finish(place: int, result: Currents) -> None:
        currents[place] = result
        if progress:
            progress(len(currents), len(requests))

    workers.run(backend.read, units(), solved)
    return [currents[place] for place in range(len(requests))]
