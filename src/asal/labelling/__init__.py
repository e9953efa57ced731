"""People label: who agrees with whom, and when more labels no longer pay."""
