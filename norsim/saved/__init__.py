"""Trained networks in folders."""
