"""The trusted path: a tile as a deck, simulators that solve it, and what they give back, checked."""
