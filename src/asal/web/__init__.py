"""The labelling page: an HTTP face for the desk, thin. See docs/explanation/security.md for whom it trusts."""
