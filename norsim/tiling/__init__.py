"""A quantized layer on tiles: placed, programmed, driven and read out."""
