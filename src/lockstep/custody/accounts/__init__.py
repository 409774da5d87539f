"""Accounts with passwords, for teams without an identity provider: registering, signing in, refreshing, signing out.

An app opts in. A login gives a short access token and a refresh token that is good for one use; a second use means that
one of both users stole it, and ends the login. Nothing here tells whether an account exists.
"""

from lockstep.custody.accounts.passwords import PasswordHashing
from lockstep.custody.accounts.service import AccountService

__all__ = ["AccountService", "PasswordHashing"]
