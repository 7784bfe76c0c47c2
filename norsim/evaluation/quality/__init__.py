"""How good outputs are: metrics by name or of the user, with their intervals."""
