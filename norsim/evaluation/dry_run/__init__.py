"""What a run would take: its work, counted on a few images, times rates measured on its own tiles."""
