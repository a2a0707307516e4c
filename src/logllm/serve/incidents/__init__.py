"""Anomalous sessions as incidents: what a person is told of."""
