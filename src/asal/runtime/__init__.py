"""What everything runs on: folders on disk, files elsewhere, randomness, progress, devices, processes."""
