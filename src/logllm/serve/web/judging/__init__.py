"""What a client sends to be judged at once."""
