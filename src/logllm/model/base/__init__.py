"""Base models: where they come from, loading, shapes, and what one would bring."""
