"""Commands of the command line that have a module of their own; `asal.cli.main` puts them together."""
