"""`macro`: a reduced model of each tile, built from nodal's equations and read by table look-ups and sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend
from norsim.backends.nodal import Nodal

if TYPE_CHECKING:
    from norsim.solver.macro.tables import Tabulated


class Macro(Backend):
    """The backend for full test sets."""

    name = "macro"
    # A model has all 2^rows states of the rows of a source line.
    most_rows = 8
    all_lines = False
    by_model = True
    claimed_error = 1e-4
    rung_above = Nodal()

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """Return the currents of the summed lines. Raises SolveError for a tile that the model does not fit."""
        from norsim.backends.characterised import read_macro

        self.check_rows(tile.wires.rows_per_source_line)
        return read_macro(tile, stimulus)

    def characterise(self, tile: Tile, stimulus: Stimulus) -> None:
        """Characterise the cell for the drives of the model."""
        from norsim.backends.characterised import model_table

        model_table(tile, stimulus)

    def prepare(self, tile: Tile, stimulus: Stimulus) -> None:
        """Build the model."""
        self.model(tile, stimulus)

    def forget(self) -> None:
        """Discard all models."""
        from norsim.backends.characterised import macro_model

        macro_model.cache_clear()

    def model(self, tile: Tile, stimulus: Stimulus) -> Tabulated:
        """Return the tile's model, built on first use. Raises ConfigurationError or SolveError if it has none."""
        from norsim.backends.characterised import reduced

        self.check_rows(tile.wires.rows_per_source_line)
        return reduced(tile, stimulus)
