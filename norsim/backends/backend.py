"""The interface of a backend: one method of computing the currents of a tile, and its properties."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.errors import ConfigurationError

if TYPE_CHECKING:
    from norsim.array.cell import Cell
    from norsim.periphery.encoding import Encoding
    from norsim.solver.macro.tables import Tabulated
    from norsim.spice.simulators.choice import Simulator

Progress = Callable[[int, int], None]


def uncounted(done: int, total: int) -> None:
    """Ignore progress: the default."""


class Backend(ABC):
    """One method of computing the currents of a tile.

    A subclass in its own file and one line in norsim.backends.registry add a backend to all commands and to Python.
    Backends have no state but the device that they compute on: all differences between them are declared here.

    Listing names must be fast, so the module of a backend imports solvers and simulators inside functions.

    `name`              the name that users write
    `gives_integers`    it computes sums of integers; it reads no array and has no currents
    `encodings`         names of the encodings it can read; None for all
    `wordline_levels`   it reads wordlines at any volts, not only up or down
    `most_rows`         the largest number of rows that can share a source line; None for any number
    `all_lines`         it returns the currents of bitlines and source lines, not only of the lines that are summed
    `by_model`          it reads a tile through a model that is built once (`model`); repeated reads cost next to
                        nothing
    `reads_per_deck`    the largest number of reads in one piece of work; None for all reads of a tile. If a solve
                        starts from the previous one, a fixed number keeps results independent of the workers
    `on_cards`          it computes on a CUDA card too
    `own_process`       each piece of work runs in its own process, with a time limit
    `reads_to_probe`    number of reads that are timed to estimate its cost
    `claimed_error`     upper bound of its error, in full scale, on wires like those of the preset; None if none is
                        claimed
    `rung_above`        the next solver of the fidelity ladder without a simulator: it reads every tile again, and
                        classifies the same images; None for none
    """

    name: str
    gives_integers = False
    encodings: frozenset[str] | None = None
    wordline_levels = True
    most_rows: int | None = None
    all_lines = True
    by_model = False
    reads_per_deck: int | None = None
    on_cards = False
    own_process = False
    reads_to_probe = 64
    claimed_error: float | None = None
    rung_above: Backend | None = None

    @abstractmethod
    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """Return the currents of `tile` under `stimulus`, whose volts match its lines.

        Raises SolveError or SimulatorError.
        """

    def read(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """Return the currents of `tile` under `stimulus`.

        Raises ConfigurationError for volts that do not match the tile's lines, and the errors of `solve`: there is no
        fallback from one backend to another.
        """
        lines = (stimulus.wordline_volts.shape[1], stimulus.bitline_volts.shape[1])
        if lines != (tile.wordlines, tile.bitlines):
            raise ConfigurationError(
                f"volts for {lines[0]} wordlines and {lines[1]} bitlines do not match a tile of "
                f"{tile.wordlines} x {tile.bitlines}"
            )
        return self.solve(tile, stimulus)

    def solve_within(self, tile: Tile, stimulus: Stimulus, seconds: float) -> Currents:
        """Call `solve`; a backend with its own process raises SolveTimeoutError after `seconds`."""
        return self.solve(tile, stimulus)

    def on(self, device: str) -> Backend:
        """Return the backend that reads tiles as this one, on a torch device such as `cuda:0`, if it can; else itself.

        One that is read `by_model` needs no change: who reads its models chooses the device.
        """
        return self

    def characterise(self, tile: Tile, stimulus: Stimulus) -> None:  # noqa: B027
        """Sweep the cell of `tile` in advance, as far as reads of the tile under volts like `stimulus` need it."""

    def prepare(self, requests: Sequence[tuple[Tile, Stimulus]], progress: Progress) -> None:
        """Do in advance the one-time work of the first read of each tile under volts like its stimulus, for the tiles
        of a layer together; `progress(done, total)` counts tiles."""
        progress(len(requests), len(requests))

    def model(self, tile: Tile, stimulus: Stimulus) -> Tabulated:
        """Return the model through which a backend with `by_model` reads `tile` under volts like `stimulus`."""
        raise ConfigurationError(f"the backend {self.name} has no model of a tile")

    def is_stored(self, tile: Tile, stimulus: Stimulus) -> bool:
        """Return whether `prepare` finds its work on `tile` done by an earlier run."""
        return False

    def times_to_build(self, tile: Tile, stimulus: Stimulus) -> tuple[float, float]:
        """Return the seconds of `prepare` for each of many tiles like this one, and those that only the first takes,
        measured now."""
        return 0.0, 0.0

    @property
    def simulator(self) -> Simulator | None:
        """The simulator that solves its decks; None for a backend without decks."""
        return None

    def witness(self, cell: Cell | None = None) -> Simulator | None:
        """Return the simulator that verifies its reads of tiles of `cell`; None if there is nothing to verify."""
        from norsim.spice.simulators.choice import chosen_simulator

        return chosen_simulator(cell)

    def versions(self, cells: Iterable[Cell]) -> dict[str, str]:
        """Return the versions, by name, of the simulators that results for `cells` depend on: for reading, programming
        and verifying.

        Raises SimulatorError if one of them is missing.
        """
        used = (*(self.witness(cell) for cell in cells), self.simulator)
        return {one.name: one.identity() for one in used if one is not None}

    def check_wires(self, wires: Wires) -> None:
        """Raise ConfigurationError if it cannot read arrays with these source lines."""
        rows = wires.rows_per_source_line
        if self.most_rows is not None and rows > self.most_rows:
            raise ConfigurationError(
                f"the backend {self.name} takes at most {self.most_rows} rows per source line, but a tile has {rows}: "
                f"its model of a tile has every state of these rows, 2^{rows} of them. Use the nodal backend, whose "
                f"cost does not depend on it, or set rows_per_source_line to at most {self.most_rows}"
            )

    def check_encoding(self, encoding: Encoding) -> None:
        """Raise ConfigurationError if it cannot read arrays of `encoding`."""
        name = encoding.name
        if self.encodings is not None and name not in self.encodings:
            raise ConfigurationError(
                f"the backend {self.name} does not read {name} arrays; it reads {', '.join(sorted(self.encodings))}"
            )
        if not self.wordline_levels and encoding.input_amps is not None:
            raise ConfigurationError(
                f"the backend {self.name} does not read {name} arrays: it models wordlines that are up or down, but "
                f"theirs have {encoding.top_drive + 1} levels. Use the nodal backend, or ngspice"
            )
