"""`python -m service`: the same as the `consent-ledger` command."""

from service.cli import main

if __name__ == "__main__":
    main()
