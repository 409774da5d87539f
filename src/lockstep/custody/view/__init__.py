"""Views: what a request asks a key to sign, decoded once from the exact bytes, and said in words.

Pure. Policy, preview, words and signer read the same view, so that what is shown, decided on and signed cannot differ.
"""

from lockstep.custody.view.amounts import format_units
from lockstep.custody.view.batches import BATCH_MODE, as_calls, sent_draft
from lockstep.custody.view.build import (
    view_authorization,
    view_draft,
    view_message,
    view_request,
    view_sent,
    view_transaction,
    view_typed_data,
)
from lockstep.custody.view.cardano import CardanoAccount, is_own, signing_address, view_body, view_data
from lockstep.custody.view.digest import preview_digest
from lockstep.custody.view.errors import MethodNotOffered, RpcInvalid, ViewMismatch, WrongSender
from lockstep.custody.view.parsing.blind import parse_raw_sign
from lockstep.custody.view.rpc import parse_rpc
from lockstep.custody.view.types import (
    CARDANO_METHODS,
    BlindSign,
    Call,
    Fault,
    FieldValue,
    Method,
    PersonalSign,
    RequestView,
    RpcRequest,
    SendTransaction,
    SignAuthorization,
    SignCardano,
    SignCardanoData,
    SignTransaction,
    SignTypedData,
    SignUserOperation,
    TransactionDraft,
)
from lockstep.custody.view.words import ChainFact, Detail, TokenFact, WordFacts, Words, describe

__all__ = [
    "BATCH_MODE",
    "CARDANO_METHODS",
    "BlindSign",
    "Call",
    "CardanoAccount",
    "ChainFact",
    "Detail",
    "Fault",
    "FieldValue",
    "Method",
    "MethodNotOffered",
    "PersonalSign",
    "RequestView",
    "RpcInvalid",
    "RpcRequest",
    "SendTransaction",
    "SignAuthorization",
    "SignCardano",
    "SignCardanoData",
    "SignTransaction",
    "SignTypedData",
    "SignUserOperation",
    "TokenFact",
    "TransactionDraft",
    "ViewMismatch",
    "WordFacts",
    "Words",
    "WrongSender",
    "as_calls",
    "describe",
    "format_units",
    "is_own",
    "parse_raw_sign",
    "parse_rpc",
    "preview_digest",
    "sent_draft",
    "signing_address",
    "view_authorization",
    "view_body",
    "view_data",
    "view_draft",
    "view_message",
    "view_request",
    "view_sent",
    "view_transaction",
    "view_typed_data",
]
