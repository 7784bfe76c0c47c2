"""Layers of other kinds as layers that an array can hold, and what stays digital around them."""
