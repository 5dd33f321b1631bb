"""The engine that runs attempts on this machine, under one supervisor process for each slot."""
