"""What backends have in common that have a simulator solve the deck of a tile."""

from __future__ import annotations

from norsim.backends.backend import Backend


class Simulated(Backend):
    """A simulator solves the deck; a subclass says which one."""

    # A deck is long enough that reading it costs little beside solving it, short enough to share out.
    reads_per_deck = 128
    reads_to_probe = 6
