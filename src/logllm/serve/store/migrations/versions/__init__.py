"""The revisions, one after the other."""
