"""What is allowed and what follows from it. Pure: no file, no clock, no process; the time is an argument."""
