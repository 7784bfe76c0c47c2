"""Cells, wires, tiles and cell non-idealities. NumPy only."""
