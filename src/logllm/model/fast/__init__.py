"""Scoring: the same network with every distinct thing computed once."""
