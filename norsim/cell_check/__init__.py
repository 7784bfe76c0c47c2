"""Whether a cell will do: measured on the cell alone and in a small tile, and judged. Behind `norsim cell check`."""
