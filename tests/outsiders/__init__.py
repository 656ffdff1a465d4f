"""Other services at a broker, as their authors would write them: with the broker's own client library."""

from tests.outsiders.outsider import Kept, Outsider

__all__ = ["Kept", "Outsider"]
