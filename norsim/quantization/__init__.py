"""Conversion of float layers to integer codes, scales and zero points."""
