"""Bounds on the width of a network."""

# Factor on the numbers of channels.
WIDEST = 64.0
