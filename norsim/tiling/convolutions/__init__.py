"""Convolutions on tiles."""
