"""What can be asked for a job: one row an option, and how requests are read from flags, lines, JSON and Python."""
