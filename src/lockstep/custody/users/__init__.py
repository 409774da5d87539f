"""Users of an app: who they are, what they may do in it, and shutting them out."""

from lockstep.custody.users.service import UserService
from lockstep.custody.users.types import User

__all__ = ["User", "UserService"]
