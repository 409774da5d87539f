"""Authorization keys and quorums: who owns wallets and policies beside users, and how their requests prove it.

A request about what is owned carries signatures over itself (`requests`); who decides about it asks whether they are
enough for the owner as it is at that moment (`rules`). Signs nothing itself, and knows public keys only.
"""
