"""Python functions as jobs: the scripts that call them in any interpreter, their values, and handles of their jobs."""
