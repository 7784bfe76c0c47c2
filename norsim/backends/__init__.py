"""Everything that turns a tile and its volts into currents."""
