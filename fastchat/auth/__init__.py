"""Who somebody is: passwords, tokens, names. The session asks an `Authenticator`; it never knows how."""

from fastchat.auth.interface import Credentials

__all__ = ["Credentials"]
