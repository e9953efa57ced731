"""Neural networks, generators and learners, with their checkpoints."""
