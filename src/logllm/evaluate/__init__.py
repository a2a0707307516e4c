"""How good: evaluation, its intervals and report, altered logs, folds, and the tables of the paper."""
