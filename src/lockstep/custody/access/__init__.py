"""Who calls: apps and their secrets, users by their tokens, session tokens, wallet logins, administrators."""

from lockstep.custody.access.authenticator import Authenticator
from lockstep.custody.access.login import LOGIN_PURPOSE, login_message
from lockstep.custody.access.service import AccessService, bootstrap_admin
from lockstep.custody.access.types import App, AppSecret, Issuer, NewSecret, WalletLogin

__all__ = [
    "LOGIN_PURPOSE",
    "AccessService",
    "App",
    "AppSecret",
    "Authenticator",
    "Issuer",
    "NewSecret",
    "WalletLogin",
    "bootstrap_admin",
    "login_message",
]
