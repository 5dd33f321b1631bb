"""Settings of a person and of a project: files, the variables JOBQ_*, and which of them counts."""
