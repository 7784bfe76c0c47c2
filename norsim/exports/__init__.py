"""What other programs read of a network on a chip. Behind `norsim export`."""
