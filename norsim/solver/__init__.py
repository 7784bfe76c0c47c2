"""The fast path: a tile's currents from Kirchhoff's laws, and from a reduced model of them."""
