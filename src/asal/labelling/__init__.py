"""People label: what stands between them and a session."""
