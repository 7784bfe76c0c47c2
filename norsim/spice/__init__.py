"""The trusted path: a tile as a deck, the simulators that solve it, and their results, checked."""
