"""Sessions whose answers are known: runs over strategies and seeds, their results and statistics."""
