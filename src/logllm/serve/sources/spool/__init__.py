"""What keeps on disk the lines that cannot be had twice, until they are stored."""
