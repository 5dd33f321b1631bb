"""One file a command: parse, one call to the library, draw."""
