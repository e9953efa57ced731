"""Labels out of a project and into it, in the forms of other tools; conflicts are reported, never resolved."""
