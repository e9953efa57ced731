"""What tests share: projects, clients, servers, and files in the layouts that people publish."""

from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the repository
