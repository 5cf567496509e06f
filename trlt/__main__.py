"""`python -m trlt`, for launchers that start modules."""

from trlt.cli import main

if __name__ == "__main__":
    main()
