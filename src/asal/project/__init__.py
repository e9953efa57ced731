"""A project folder: its spec, what is prepared from it, and the parts that a session needs."""
