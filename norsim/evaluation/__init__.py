"""The accuracy that a network keeps on the array, with its proof and its losses by cause."""
