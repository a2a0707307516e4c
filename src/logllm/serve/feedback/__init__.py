"""Answers of people to verdicts: they are stored, and runs learn from them.

A run that has learnt from them judges only where that makes nothing worse.
"""
