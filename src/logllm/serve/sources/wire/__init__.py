"""What comes over a network, as lines: addresses, connections, frames, and records of OTLP."""
