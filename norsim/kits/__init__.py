"""A transistor of a foundry kit as a flat card and a chip file. Behind `norsim cell import`."""
