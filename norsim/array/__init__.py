"""The silicon: cells, wires, tiles, and what ails them. NumPy only."""
