"""Commands for a cell, a tile or a layer."""
