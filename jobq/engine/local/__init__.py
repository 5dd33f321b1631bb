"""Runs attempts on this machine, each under a supervisor process of its own."""
