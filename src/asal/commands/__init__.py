"""Groups of commands, each in a file of its own; `asal.cli` puts them together."""
