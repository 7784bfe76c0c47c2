"""What the commands and Python calls share: a network on a chip with its data, and the folder of a run."""
