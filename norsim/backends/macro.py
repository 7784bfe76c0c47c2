"""`macro`: a reduced model of each tile, built from nodal's equations and read by table look-ups and sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend, Progress
from norsim.backends.nodal import Nodal

if TYPE_CHECKING:
    from norsim.solver.macro.tables import Tabulated


class Macro(Backend):
    """The backend for full test sets."""

    name = "macro"
    # A model has all 2^rows states of the rows of a source line.
    most_rows = 8
    all_lines = False
    wordline_levels = False
    by_model = True
    on_cards = True
    claimed_error = 1e-4
    rung_above = Nodal()

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """Return the currents of the summed lines. Raises SolveError for a tile that the model does not fit."""
        from norsim.backends.characterised import read_macro

        self.check_wires(tile.wires)
        return read_macro(tile, stimulus)

    def characterise(self, tile: Tile, stimulus: Stimulus) -> None:
        """Characterise the cell for the drives of the model, unless the model is kept on disk."""
        from norsim.backends.characterised import model_table

        if not self.is_stored(tile, stimulus):
            model_table(tile, stimulus)

    def prepare(self, requests: Sequence[tuple[Tile, Stimulus]], progress: Progress) -> None:
        """Build the models, several at a time; those kept on disk are read."""
        from norsim.backends.characterised import build_models

        for tile, _ in requests:
            self.check_wires(tile.wires)
        build_models(requests, progress)

    def is_stored(self, tile: Tile, stimulus: Stimulus) -> bool:
        """Return whether the model is kept on disk."""
        from norsim.backends.characterised import is_stored

        return is_stored(tile, stimulus)

    def times_to_build(self, tile: Tile, stimulus: Stimulus) -> tuple[float, float]:
        """Measure the builds of two models."""
        from norsim.backends.characterised import times_to_build

        return times_to_build(tile, stimulus)

    def model(self, tile: Tile, stimulus: Stimulus) -> Tabulated:
        """Return the tile's model, built on first use. Raises ConfigurationError or SolveError if it has none."""
        from norsim.backends.characterised import reduced

        self.check_wires(tile.wires)
        return reduced(tile, stimulus)
