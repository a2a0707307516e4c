"""How good: evaluation, intervals, the report, altered logs, folds, and the paper's tables."""
