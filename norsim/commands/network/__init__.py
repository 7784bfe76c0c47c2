"""Commands for a whole network."""
