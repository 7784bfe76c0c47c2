"""What a user says about layers by name: patterns, and the widths of their codes. Without torch."""
