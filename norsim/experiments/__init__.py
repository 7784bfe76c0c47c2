"""Code shared by the commands and the Python interface: a network on a chip with its data, and run folders."""
