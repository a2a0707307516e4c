"""Logits to verdicts."""
