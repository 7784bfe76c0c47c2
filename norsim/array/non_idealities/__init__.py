"""Cell non-idealities, one mechanism per file."""
