"""Storage of trained networks in folders."""
