"""Answers of people to verdicts.

Taken, learnt from, and promoted only where that makes nothing worse.
"""
