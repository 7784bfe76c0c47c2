"""The sectors of an array: how their cells are programmed, and what those beside a tile do."""
