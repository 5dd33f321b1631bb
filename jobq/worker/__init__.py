"""The worker: the loop that claims jobs, gives them to an engine and records how they ended."""
