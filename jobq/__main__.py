"""`python -m jobq` is the same program as `jobq`."""

from jobq.cli import main

if __name__ == "__main__":
    main()
