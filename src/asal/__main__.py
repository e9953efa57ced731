"""`python -m asal`."""

from asal.cli.main import main

if __name__ == "__main__":
    main()
