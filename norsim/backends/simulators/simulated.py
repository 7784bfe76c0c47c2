"""The common part of backends in which a simulator solves the deck of a tile."""

from __future__ import annotations

from norsim.backends.backend import Backend


class Simulated(Backend):
    """A backend in which a simulator, chosen by the subclass, solves decks."""

    # A deck is long enough that parsing costs little compared with solving, and short enough to distribute.
    reads_per_deck = 128
    reads_to_probe = 6
