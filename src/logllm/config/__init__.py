"""Every knob, one file a section, checked; recipes are TOML."""
