"""Sessions to logits: torch starts here."""
