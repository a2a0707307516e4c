"""Files that grow: rotated, cut to nothing, compressed, and read on where they were left."""
