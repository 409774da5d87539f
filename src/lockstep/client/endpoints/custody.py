"""Calls of wallets, policies, session signers, previews, signatures and the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lockstep.client.decoding import read
from lockstep.client.models import (
    AuditEntry,
    Evaluation,
    NewSessionSigner,
    Policy,
    PolicyDiff,
    PolicyRevision,
    Preview,
    Proof,
    RpcAnswer,
    SessionSigner,
    Shadow,
    Wallet,
)
from lockstep.client.requests import Page, Request, get, given, listing, new_idempotency_key, of, segment, send

# --- wallets ----------------------------------------------------------------------------------------------------------


def create_wallet(
    *,
    policy_ids: Sequence[str] = (),
    owner_user_id: str | None = None,
    owner_id: str | None = None,
    display_name: str | None = None,
    external_id: str | None = None,
    chain_type: str | None = None,
    idempotency_key: str | None = None,
) -> Request[Wallet]:
    """Make a wallet. A user's wallet is owned by that user.

    Args:
        owner_id: authorization key or quorum that must sign every request about it, see `Client.signed_by`.
        chain_type: "ethereum" (if left out) for all EVM chains, or "cardano".
        external_id: your own id for it, 1 to 64 letters, digits, "-" and "_"; it never changes.
    """
    body = given(
        policy_ids=list(policy_ids),
        owner_user_id=owner_user_id,
        owner_id=owner_id,
        display_name=display_name,
        external_id=external_id,
        chain_type=chain_type,
    )
    key = idempotency_key or new_idempotency_key()
    return send("POST", "/v1/wallets", of(Wallet), body, idempotency_key=key)


def create_wallets(
    wallets: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
) -> Request[tuple[Wallet, ...]]:
    """Make up to 100 wallets, all of them or none; in the order of the request.

    Args:
        wallets: of each what `create_wallet` takes: `policy_ids`, `owner_user_id`, `owner_id`, `display_name`,
            `external_id`.
    """
    body = {"wallets": [dict(one) for one in wallets]}
    key = idempotency_key or new_idempotency_key()
    return send("POST", "/v1/wallets/batch", _wallets, body, idempotency_key=key)


def get_wallet(wallet_id: str) -> Request[Wallet]:
    """One wallet."""
    return get(f"/v1/wallets/{segment(wallet_id)}", of(Wallet))


def list_wallets(
    *,
    user_id: str | None = None,
    owner_id: str | None = None,
    address: str | None = None,
    external_id: str | None = None,
    chain_type: str | None = None,
    status: str | None = None,
    include_archived: bool = False,
    cursor: str | None = None,
    limit: int | None = None,
) -> Request[Page[Wallet]]:
    """Wallets that the caller may see, oldest first, without those that are archived."""
    return listing(
        "/v1/wallets",
        Wallet,
        user_id=user_id,
        owner_id=owner_id,
        address=address,
        external_id=external_id,
        chain_type=chain_type,
        status=status,
        include_archived="true" if include_archived else None,
        cursor=cursor,
        limit=limit,
    )


def archive_wallet(wallet_id: str) -> Request[Wallet]:
    """Put a wallet away: it signs nothing, and lists leave it out."""
    return send("POST", f"/v1/wallets/{segment(wallet_id)}/archive", of(Wallet), is_repeatable=True)


def restore_wallet(wallet_id: str) -> Request[Wallet]:
    """Put an archived wallet back into use."""
    return send("POST", f"/v1/wallets/{segment(wallet_id)}/restore", of(Wallet), is_repeatable=True)


def update_wallet(
    wallet_id: str,
    *,
    policy_ids: Sequence[str] | None = None,
    display_name: str | None = None,
    status: str | None = None,
    owner_user_id: str | None = None,
    owner_id: str | None = None,
    takes_owner_away: bool = False,
) -> Request[Wallet]:
    """Change policies, name, status ("active", "frozen") or owner. A frozen wallet signs nothing, at once.

    Args:
        owner_user_id, owner_id: gives the wallet to a user, or to an authorization key or quorum.
        takes_owner_away: gives the wallet to nobody: the app's secret is enough from then on.
    """
    policies = None if policy_ids is None else list(policy_ids)
    body = given(
        policy_ids=policies, display_name=display_name, status=status, owner_user_id=owner_user_id, owner_id=owner_id
    )
    if takes_owner_away:
        body["owner_id"] = None
    return send("PATCH", f"/v1/wallets/{segment(wallet_id)}", of(Wallet), body, is_repeatable=True)


# --- policies and session signers -------------------------------------------------------------------------------------


def create_policy(document: Mapping[str, Any], *, owner_id: str | None = None) -> Request[Policy]:
    """Check a policy document and keep it as revision 1.

    Args:
        owner_id: authorization key or quorum that must sign every change.
    """
    return send("POST", "/v1/policies", of(Policy), {**document, **given(owner_id=owner_id)})


def get_policy(policy_id: str) -> Request[Policy]:
    """One policy with its revision in force."""
    return get(f"/v1/policies/{segment(policy_id)}", of(Policy))


def list_policies(*, cursor: str | None = None, limit: int | None = None) -> Request[Page[Policy]]:
    """Policies that the caller may see, oldest first."""
    return listing("/v1/policies", Policy, cursor=cursor, limit=limit)


def update_policy(
    policy_id: str, document: Mapping[str, Any], *, owner_id: str | None = None, takes_owner_away: bool = False
) -> Request[Policy]:
    """Put a whole new document in force as the next revision.

    Args:
        owner_id: gives the policy to an authorization key or quorum. takes_owner_away: to nobody.
    """
    owner = {"owner_id": None} if takes_owner_away else given(owner_id=owner_id)
    return send("PATCH", f"/v1/policies/{segment(policy_id)}", of(Policy), {**document, **owner})


def list_policy_revisions(
    policy_id: str, *, cursor: str | None = None, limit: int | None = None
) -> Request[Page[PolicyRevision]]:
    """Every document that a policy had, the newest first."""
    return listing(f"/v1/policies/{segment(policy_id)}/revisions", PolicyRevision, cursor=cursor, limit=limit)


def diff_policy(policy_id: str, before: int, after: int) -> Request[PolicyDiff]:
    """What became of the rules between two revisions."""
    return get(f"/v1/policies/{segment(policy_id)}/diff", of(PolicyDiff), before=before, after=after)


def evaluate_policy(
    policy_id: str,
    wallet_id: str,
    request: Mapping[str, Any],
    *,
    document: Mapping[str, Any] | None = None,
) -> Request[Evaluation]:
    """Try a request of `rpc` against a policy; signs, stores and sends nothing.

    Args:
        document: tried in place of the document in force.
    """
    body = {"wallet_id": wallet_id, "request": dict(request), **given(document=document)}
    return send("POST", f"/v1/policies/{segment(policy_id)}/evaluate", of(Evaluation), body, is_repeatable=True)


def shadow_policy(policy_id: str, document: Mapping[str, Any], *, last: int | None = None) -> Request[Shadow]:
    """Try a document on the last requests that the policy took part in; signs, stores and sends nothing.

    Args:
        last: how many requests, 1 to 1,000; 100 if it is not given.
    """
    body = {"document": dict(document), **given(last=last)}
    return send("POST", f"/v1/policies/{segment(policy_id)}/shadow", of(Shadow), body, is_repeatable=True)


def prove_policy(
    policy_id: str,
    conditions: Sequence[Mapping[str, Any]],
    *,
    method: str | None = None,
    document: Mapping[str, Any] | None = None,
    seconds: int | None = None,
) -> Request[Proof]:
    """Whether the policy can ever allow a request that meets all of these conditions.

    Args:
        method: the conditions are those of a rule for it; "*" if it is not given.
        document: asked in place of the one in force.
        seconds: most time for the solver, 1 to 30; 5 if it is not given.
    """
    body = {"conditions": [dict(one) for one in conditions], **given(method=method, document=document, seconds=seconds)}
    return send("POST", f"/v1/policies/{segment(policy_id)}/prove", of(Proof), body, is_repeatable=True)


def compare_policy(
    policy_id: str,
    *,
    before: int | None = None,
    after: int | None = None,
    document: Mapping[str, Any] | None = None,
    seconds: int | None = None,
) -> Request[Proof]:
    """Whether a later document allows anything that an earlier one did not.

    Args:
        before, after: revisions; the one in force if they are not given.
        document: compared in place of `after`.
    """
    body = given(before=before, after=after, document=document, seconds=seconds)
    return send("POST", f"/v1/policies/{segment(policy_id)}/compare", of(Proof), body, is_repeatable=True)


def create_session_signer(
    wallet_id: str,
    *,
    expires_at: datetime,
    allowed_methods: Sequence[str],
    policy_ids: Sequence[str] = (),
    max_value_per_transaction: int | None = None,
    max_total_value: int | None = None,
    max_value_per_window: int | None = None,
    window_seconds: int | None = None,
    max_transactions: int | None = None,
    authorization_key_id: str | None = None,
    grantee: str = "token",
    display_name: str | None = None,
) -> Request[NewSessionSigner]:
    """Let somebody else sign for a wallet, for a time and inside its policies.

    Args:
        grantee: "token" (whoever holds the token of the answer), "key" (whoever signs with the key) or a module of Lockstep,
            like "module:coordinator".
        authorization_key_id: key that must sign each request.
        max_value_per_transaction: wei; so are max_total_value (in all) and max_value_per_window (within window_seconds).
        max_transactions: most requests that are signed or sent, of every kind.
    """
    if expires_at.tzinfo is None:
        raise ValueError("expires_at: expected a time with its zone")
    body = given(
        expires_at=expires_at.isoformat(),
        allowed_methods=list(allowed_methods),
        policy_ids=list(policy_ids),
        max_value_per_transaction=_amount(max_value_per_transaction),
        max_total_value=_amount(max_total_value),
        max_value_per_window=_amount(max_value_per_window),
        window_seconds=window_seconds,
        max_transactions=max_transactions,
        authorization_key_id=authorization_key_id,
        grantee=grantee,
        display_name=display_name,
    )
    return send("POST", f"/v1/wallets/{segment(wallet_id)}/session-signers", of(NewSessionSigner), body)


def list_session_signers(
    wallet_id: str, *, cursor: str | None = None, limit: int | None = None
) -> Request[Page[SessionSigner]]:
    """Session signers of a wallet, oldest first."""
    return listing(f"/v1/wallets/{segment(wallet_id)}/session-signers", SessionSigner, cursor=cursor, limit=limit)


def revoke_session_signer(wallet_id: str, session_id: str) -> Request[SessionSigner]:
    """End a session signer at once."""
    path = f"/v1/wallets/{segment(wallet_id)}/session-signers/{segment(session_id)}"
    return send("DELETE", path, of(SessionSigner), is_repeatable=True)


# --- signing ----------------------------------------------------------------------------------------------------------


def preview(wallet_id: str, method: str, params: Mapping[str, Any], *, chain: str | None = None) -> Request[Preview]:
    """Show what a request would do, in words, with the verdict of the policies and what it would cost."""
    body = given(method=method, params=dict(params), caip2=chain)
    return send("POST", f"/v1/wallets/{segment(wallet_id)}/rpc/preview", of(Preview), body, is_repeatable=True)


def rpc(
    wallet_id: str,
    method: str,
    params: Mapping[str, Any],
    *,
    chain: str | None = None,
    preview_digest: str | None = None,
    idempotency_key: str | None = None,
) -> Request[RpcAnswer]:
    """Sign or send.

    Args:
        chain: CAIP-2, where the method needs one.
        preview_digest: refuses the request when anything that the preview showed has changed.
    """
    body = given(method=method, params=dict(params), caip2=chain, preview_digest=preview_digest)
    key = idempotency_key or new_idempotency_key()
    return send("POST", f"/v1/wallets/{segment(wallet_id)}/rpc", of(RpcAnswer), body, idempotency_key=key)


def sign_typed_data(
    wallet_id: str,
    typed_data: Mapping[str, Any],
    *,
    preview_digest: str | None = None,
    idempotency_key: str | None = None,
) -> Request[bytes]:
    """The 65 bytes of an EIP-712 signature."""
    asked = rpc(
        wallet_id,
        "eth_signTypedData_v4",
        {"typed_data": dict(typed_data)},
        preview_digest=preview_digest,
        idempotency_key=idempotency_key,
    )
    return _for_signature(asked)


def personal_sign(
    wallet_id: str, message: str | bytes, *, preview_digest: str | None = None, idempotency_key: str | None = None
) -> Request[bytes]:
    """The 65 bytes of a signature over a text or bytes (EIP-191)."""
    if isinstance(message, bytes):
        params = {"message": "0x" + message.hex(), "encoding": "hex"}
    else:
        params = {"message": message, "encoding": "utf-8"}
    asked = rpc(wallet_id, "personal_sign", params, preview_digest=preview_digest, idempotency_key=idempotency_key)
    return _for_signature(asked)


def raw_sign(
    wallet_id: str, content: bytes, *, hash_function: str | None = None, idempotency_key: str | None = None
) -> Request[bytes]:
    """The 65 bytes of a signature over a hash, whatever it stands for; policies must name `secp256k1_sign`.

    Args:
        content: the hash, 32 bytes; or with a `hash_function`, "keccak256" or "sha256", the bytes that are hashed.
    """
    shown = "0x" + content.hex()
    params = given(hash=shown)
    if hash_function is not None:
        params = given(bytes=shown, encoding="hex", hash_function=hash_function)
    key = idempotency_key or new_idempotency_key()
    path = f"/v1/wallets/{segment(wallet_id)}/raw_sign"
    return _for_signature(send("POST", path, of(RpcAnswer), {"params": params}, idempotency_key=key))


def sign_authorization(
    wallet_id: str,
    *,
    chain_id: int,
    contract: str,
    nonce: int,
    is_self_executed: bool = False,
    preview_digest: str | None = None,
    idempotency_key: str | None = None,
) -> Request[Mapping[str, Any]]:
    """Let the wallet's account run the code of a contract (EIP-7702); what an authorization list takes.

    Args:
        chain_id: 0 means every chain.
        nonce: of the account; with `is_self_executed` that of its own transaction which carries the authorization.
    """
    params = given(chain_id=chain_id, contract=contract, nonce=nonce, executor="self" if is_self_executed else None)
    asked = rpc(
        wallet_id,
        "eth_sign7702Authorization",
        params,
        preview_digest=preview_digest,
        idempotency_key=idempotency_key,
    )
    return _mapped(asked, lambda answer: answer.data["authorization"])


def sign_user_operation(
    wallet_id: str,
    *,
    chain_id: int,
    entry_point: str,
    user_operation: Mapping[str, Any],
    preview_digest: str | None = None,
    idempotency_key: str | None = None,
) -> Request[bytes]:
    """The 65 bytes of an owner's signature over an ERC-4337 user operation of version 0.7.

    Args:
        user_operation: its members in snake case, without a signature.
    """
    asked = rpc(
        wallet_id,
        "eth_signUserOperation",
        {"chain_id": chain_id, "contract": entry_point, "user_operation": dict(user_operation)},
        preview_digest=preview_digest,
        idempotency_key=idempotency_key,
    )
    return _for_signature(asked)


def sign_cardano_transaction(
    wallet_id: str, body: bytes, *, preview_digest: str | None = None, idempotency_key: str | None = None
) -> Request[bytes]:
    """The 64 bytes of a Cardano wallet's signature over a transaction body, given as its CBOR."""
    params = {"body": "0x" + body.hex()}
    method = "cardano_signTransaction"
    asked = rpc(wallet_id, method, params, preview_digest=preview_digest, idempotency_key=idempotency_key)
    return _for_signature(asked)


def send_transaction(
    wallet_id: str,
    chain: str,
    *,
    to: str | None,
    value: int = 0,
    data: bytes = b"",
    gas_limit: int | None = None,
    max_fee_per_gas: int | None = None,
    speed: str = "standard",
    private: bool | None = None,
    preview_digest: str | None = None,
    idempotency_key: str | None = None,
) -> Request[str]:
    """Send a transaction; its id. Nonce, gas and fees are Lockstep's, inside the ceilings given here (wei).

    Args:
        speed: how soon it should be mined: "slow", "standard" or "fast".
        private: whether it goes to the chain's private node only; None: as the chain is set up.
    """
    transaction = given(to=to, value=str(value), data="0x" + data.hex())
    for name, ceiling in (("gas_limit", gas_limit), ("max_fee_per_gas", max_fee_per_gas)):
        if ceiling is not None:
            transaction[name] = str(ceiling)
    asked = rpc(
        wallet_id,
        "eth_sendTransaction",
        given(transaction=transaction, speed=speed, private=private),
        chain=chain,
        preview_digest=preview_digest,
        idempotency_key=idempotency_key,
    )
    return _mapped(asked, lambda answer: str(answer.data["transaction_id"]))


def send_calls(
    wallet_id: str,
    chain: str,
    calls: Sequence[Mapping[str, Any]],
    *,
    speed: str = "standard",
    private: bool | None = None,
    preview_digest: str | None = None,
    idempotency_key: str | None = None,
) -> Request[str]:
    """Make calls in one transaction, all of them or none; its id. More than one needs a delegated account (EIP-7702).

    Args:
        calls: each with `to`, and where there is one `value` (wei, as text) and `data` (0x hex).
    """
    asked = rpc(
        wallet_id,
        "wallet_sendCalls",
        given(calls=[dict(call) for call in calls], speed=speed, private=private),
        chain=chain,
        preview_digest=preview_digest,
        idempotency_key=idempotency_key,
    )
    return _mapped(asked, lambda answer: str(answer.data["transaction_id"]))


def list_audit_entries(
    *, resource: str | None = None, cursor: str | None = None, limit: int | None = None
) -> Request[Page[AuditEntry]]:
    """Entries of the app's audit log, newest first; `resource` is for example "wallet:<id>"."""
    return listing("/v1/audit/entries", AuditEntry, resource=resource, cursor=cursor, limit=limit)


def _wallets(document: Any) -> tuple[Wallet, ...]:
    return read(tuple[Wallet, ...], document["items"])


def _for_signature(request: Request[RpcAnswer]) -> Request[bytes]:
    return _mapped(request, lambda answer: bytes.fromhex(str(answer.data["signature"]).removeprefix("0x")))


def _amount(value: int | None) -> str | None:
    return None if value is None else str(value)


def _mapped(request: Request[RpcAnswer], pick: Any) -> Request[Any]:
    parse = request.parse
    return Request(
        method=request.method,
        path=request.path,
        parse=lambda document: pick(parse(document)),
        body=request.body,
        idempotency_key=request.idempotency_key,
        is_repeatable=True,
    )
