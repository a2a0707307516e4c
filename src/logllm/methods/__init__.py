"""What other methods reach on the same prepared data, judged by the same measures."""
