"""Lines to sessions: Polars frames, never torch."""
