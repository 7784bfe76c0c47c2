"""Commands about a cell, a tile or a layer."""
