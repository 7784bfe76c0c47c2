"""The hardware: a YAML file, validated and converted to one Chip in SI units."""
