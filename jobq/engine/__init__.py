"""Engines run attempts and know no store. `local` starts one supervisor process for each slot of the worker."""
