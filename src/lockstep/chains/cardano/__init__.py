"""Cardano: addresses, transaction bodies read from their own bytes, and messages (CIP-8).

Knows bytes; knows no node, wallet, policy or table, and holds no key. Nothing is written again and hashed: what is signed
is the hash of the bytes that were read.
"""

from lockstep.chains.cardano.addresses import (
    Network,
    address_text,
    enterprise_address,
    key_hash,
    payment_key_hash,
    read_address,
)
from lockstep.chains.cardano.bodies import Input, Output, Token, TransactionBody, read_body
from lockstep.chains.cardano.errors import BadCardanoAddress, MalformedBody
from lockstep.chains.cardano.messages import (
    cose_key,
    cose_sign1,
    message_digest,
    message_payload,
    read_message_payload,
)

__all__ = [
    "BadCardanoAddress",
    "Input",
    "MalformedBody",
    "Network",
    "Output",
    "Token",
    "TransactionBody",
    "address_text",
    "cose_key",
    "cose_sign1",
    "enterprise_address",
    "key_hash",
    "message_digest",
    "message_payload",
    "payment_key_hash",
    "read_address",
    "read_body",
    "read_message_payload",
]
