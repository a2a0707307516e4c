"""Lines of which no more is known than how they say their time."""
