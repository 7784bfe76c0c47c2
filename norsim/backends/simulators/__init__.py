"""The backends in which a simulator solves the deck of a tile, one class per file."""
