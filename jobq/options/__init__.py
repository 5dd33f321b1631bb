"""The options of a job, one row each, and the reading of requests from flags, lines, JSON and Python."""
