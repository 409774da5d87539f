"""Apps as administrators see them: listing, changing, suspending, and giving one a secret again."""

from lockstep.custody.apps.service import AppService

__all__ = ["AppService"]
