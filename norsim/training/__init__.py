"""Training: in float, quantized, and through the circuit."""
