"""The parts that sections of a chip file share: their base, quantities with units, and wires."""
