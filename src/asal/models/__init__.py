"""Networks and what is trained: generators and classifiers, with their checkpoints."""
