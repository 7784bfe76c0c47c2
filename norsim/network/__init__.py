"""Networks: defined, trained, quantized, placed on tiles, evaluated."""
