"""Python functions as jobs: the script that calls one, and the result that it leaves."""
