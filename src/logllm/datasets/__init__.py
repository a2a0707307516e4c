"""Labelled sessions: prepared from logs, divided, compared.

Among them are public data sets and those that come with the package.
"""
