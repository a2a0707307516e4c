"""What masking keeps and what it replaces: the tables of its rules, and stack traces."""
