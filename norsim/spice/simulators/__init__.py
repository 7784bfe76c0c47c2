"""Simulators that solve decks: finding, running and checking them."""
