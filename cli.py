"""`python cli.py ...` is `norsim ...` from a checkout, for those who have not installed it."""

from norsim.commands import main

if __name__ == "__main__":
    main()
