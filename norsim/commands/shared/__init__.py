"""Code shared by several commands: options, progress, tables."""
