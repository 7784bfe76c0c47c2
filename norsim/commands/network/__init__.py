"""Commands about a whole network."""
