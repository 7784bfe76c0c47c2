"""Published measurements beside what norsim predicts for them."""
