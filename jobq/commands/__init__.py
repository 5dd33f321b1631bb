"""The commands, one file each: read the words, call the library, print the result. `run` also drives a worker."""
