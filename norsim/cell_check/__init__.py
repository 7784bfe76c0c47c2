"""Check of a cell: measurements on single cells and a small tile, and their assessment. Behind `norsim cell check`."""
