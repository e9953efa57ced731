"""Commands that would make `asal.cli` too long: parse, one call, print."""
