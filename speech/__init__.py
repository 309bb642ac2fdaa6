"""Sound in, attributed turns out. Knows nothing of rules or of quality assurance."""
