"""Everything about the hardware: a YAML file, checked, as one Chip in SI units."""
