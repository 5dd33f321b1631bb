"""The output for people and programs: tables, details, live views, logs, JSON, completion scripts."""
