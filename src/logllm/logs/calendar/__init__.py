"""When records are of: zones, years and the order of time."""
