"""Engines run attempts. `local` starts one supervisor process for each slot of the worker."""
