"""Label Studio as the page on which people answer: its client, and the bridge to a session."""
