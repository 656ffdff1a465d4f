"""`python -m fastchat` is the `fastchat` command."""

from fastchat.cli import main

if __name__ == "__main__":
    main()
