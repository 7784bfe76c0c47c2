"""Simulators that solve decks, each found, run and checked."""
