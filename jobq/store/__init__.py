"""The files of the queue: journal, hint, locks, environments, finished jobs. It does not know what a job means."""
