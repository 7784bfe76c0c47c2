"""What runs on one machine share."""
