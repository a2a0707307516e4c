"""Labelled sessions: prepared from logs, divided, compared.

Public data sets and those that come with the package.
"""
