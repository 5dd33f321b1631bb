"""The rules for jobs: legal moves, retries, order. Pure: no file, no clock, no process; the time is an argument."""
