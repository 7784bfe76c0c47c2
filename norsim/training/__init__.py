"""Training: in float, at 4 bits, and through the circuit."""
