"""How sessions are judged: known scores, sessions that an input cuts, and verdicts."""
