"""The `fastchat` command with workers that have nothing in common but their ports: no store, no broker."""

import sys

from fastchat import cli
from fastchat.config import settings


def main() -> None:
    # Workers without a database are no chat, which the settings say. Here it is about their processes.
    vars(settings)["problem_of_nodes"] = lambda *given: None
    sys.argv[0] = "fastchat"
    cli.main()


if __name__ == "__main__":
    main()
