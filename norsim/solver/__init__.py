"""The fast path: a tile's currents from Kirchhoff's laws, and from a model reduced from them."""
