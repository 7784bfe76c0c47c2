"""What a backend is: one way to find the currents of a tile, with what else is known of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.errors import ConfigurationError

if TYPE_CHECKING:
    from norsim.solver.macro.tables import Tabulated
    from norsim.spice.simulators.choice import Simulator

Progress = Callable[[int, int], None]


class Backend(ABC):
    """One way to find the currents of a tile.

    A subclass in a file of its own, and one line in norsim.backends.registry, make a backend known to all commands and
    to Python. Backends have no state: all that differs between them is declared here.

    Names must be listed quickly, so a backend's module imports solvers and simulators where it uses them, not at its
    top.

    `name`              as users write it
    `gives_integers`    it computes the sums of integers; it reads no array and has no currents
    `encodings`         names of the encodings it can read; None for all
    `all_lines`         it returns the currents of bitlines and source lines, not only of the lines that are summed
    `by_model`          it reads a tile through a model that is built once (`model`); repeated reads cost next to
                        nothing
    `reads_per_deck`    the most reads in one piece of work; None for all of a tile's. Results must not depend on who
                        does the work, where a solve starts from the one before it
    `own_process`       each piece of work runs in a process of its own, which can be limited in time
    `reads_to_probe`    how many reads are timed for an estimate of its cost
    `claimed_error`     the error, in full scale, that it stays below on wires like the preset's; None where none is
                        claimed
    """

    name: str
    gives_integers = False
    encodings: frozenset[str] | None = None
    all_lines = True
    by_model = False
    reads_per_deck: int | None = None
    own_process = False
    reads_to_probe = 64
    claimed_error: float | None = None

    @abstractmethod
    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """The currents of `tile` under `stimulus`, whose volts fit its lines; raises SolveError or SimulatorError."""

    def read(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """The currents of `tile` under `stimulus`.

        Raises ConfigurationError for volts that do not fit the tile's lines, and whatever `solve` raises: there is no
        fallback from one backend to another.
        """
        lines = (stimulus.wordline_volts.shape[1], stimulus.bitline_volts.shape[1])
        if lines != (tile.wordlines, tile.bitlines):
            raise ConfigurationError(
                f"volts for {lines[0]} wordlines and {lines[1]} bitlines do not fit a tile of "
                f"{tile.wordlines} x {tile.bitlines}"
            )
        return self.solve(tile, stimulus)

    def solve_within(self, tile: Tile, stimulus: Stimulus, seconds: float) -> Currents:
        """`solve`, which raises SolveTimeoutError after `seconds` where the backend has a process of its own."""
        return self.solve(tile, stimulus)

    def prepare(self, tile: Tile, stimulus: Stimulus) -> None:  # noqa: B027
        """Do now what the first read of `tile` under volts like `stimulus` would otherwise wait for."""

    def model(self, tile: Tile, stimulus: Stimulus) -> Tabulated:
        """The model that a backend `by_model` reads `tile` through, under volts like `stimulus`."""
        raise ConfigurationError(f"the backend {self.name} has no model of a tile")

    def forget(self) -> None:  # noqa: B027
        """Drop what `prepare` built for all tiles, so that it can be timed again."""

    @property
    def simulator(self) -> Simulator | None:
        """The simulator whose decks its reads are; None for a backend that solves by itself."""
        return None

    @property
    def witness(self) -> Simulator | None:
        """The simulator that checks its reads; None where there is nothing to check."""
        from norsim.spice.simulators.choice import chosen_simulator

        return chosen_simulator()

    def versions(self) -> dict[str, str]:
        """The versions, by name, of the simulators that its currents rest on: what reads, programs and checks.

        Raises SimulatorError where one of them is missing.
        """
        return {one.name: one.identity() for one in (self.witness, self.simulator) if one is not None}

    def check_encoding(self, name: str) -> None:
        """Raise ConfigurationError where it cannot read arrays of the encoding called `name`."""
        if self.encodings is not None and name not in self.encodings:
            raise ConfigurationError(
                f"the backend {self.name} does not read {name} arrays; it reads {', '.join(sorted(self.encodings))}"
            )
