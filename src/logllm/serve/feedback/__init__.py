"""Answers of people to verdicts: taken, learnt from, and promoted only where that makes nothing worse."""
