"""Backends: they compute the currents of a tile from its volts."""
