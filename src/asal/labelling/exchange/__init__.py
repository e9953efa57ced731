"""Labels out of a project and into it, in the forms that other tools read; what disagrees is told, never settled."""
