"""How good and how fast is it: measurements of runs."""
