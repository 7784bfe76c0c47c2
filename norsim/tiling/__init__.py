"""Quantized layers on tiles: placement, programming, calibration and reads."""
