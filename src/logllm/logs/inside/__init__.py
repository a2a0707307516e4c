"""Lines of one program inside the records of another: taken out, and joined each in its stream."""
