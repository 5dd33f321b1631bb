"""The files of the queue: journal, hint, locks, environments, finished jobs, logs and worker folders."""
