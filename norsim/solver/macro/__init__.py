"""The reduced model of a tile, built from nodal's equations."""
