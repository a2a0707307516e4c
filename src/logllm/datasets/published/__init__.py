"""Data sets for everybody: the public ones and how they are fetched, and those in the package."""
