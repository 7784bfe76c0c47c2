"""The accuracy that a network keeps on the array, its verification, and its losses by cause."""
