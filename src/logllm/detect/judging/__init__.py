"""How sessions are judged: scores that are known, sessions that an input cuts, and verdicts on those that close together."""
