"""Commands about finished runs."""
