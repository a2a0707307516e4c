"""How fast: lines, sessions, passes and training steps a second, and how much work they are."""
