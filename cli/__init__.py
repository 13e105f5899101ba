"""The command line of decr: parse, call the library once, print."""
