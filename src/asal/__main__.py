"""`python -m asal`."""

from asal.cli import main

if __name__ == "__main__":
    main()
