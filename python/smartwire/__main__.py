"""`python -m smartwire`."""

from smartwire.cli.main import main

if __name__ == "__main__":
    main()
