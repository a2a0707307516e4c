"""Where lines come from: folders and addresses, and lines that are pushed as they come."""
