"""Float layers to integer codes, scales and zero points."""
