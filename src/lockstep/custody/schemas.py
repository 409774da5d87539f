"""Wire shapes of custody. Strict: unknown members are refused, nothing is converted but what the API documents."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lockstep.custody.access.schemas import Moment, Name, Strict
from lockstep.custody.authority.types import NewOwner
from lockstep.kit.money import Amount, AmountIn

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
MethodName = Literal[
    "eth_sendTransaction",
    "wallet_sendCalls",
    "eth_signTransaction",
    "personal_sign",
    "eth_signTypedData_v4",
    "eth_sign7702Authorization",
    "secp256k1_sign",
    "eth_signUserOperation",
    "cardano_signTransaction",
    "cardano_signData",
]
METHODS: tuple[str, ...] = get_args(MethodName)


class WalletPatch(Strict):
    """What is to change; absent members stay."""

    policy_ids: Annotated[list[Id], Field(max_length=10)] | None = None
    display_name: Name | None = None
    status: Literal["active", "frozen"] | None = None
    owner_user_id: Id | None = Field(None, description="Gives the wallet to a user; null takes its owner away.")
    owner_id: Id | None = Field(
        None, description="Gives the wallet to an authorization key or a quorum; null takes its owner away."
    )

    def new_owner(self) -> NewOwner | None:
        """To whom the wallet is given; None: it stays whose it is."""
        if not {"owner_user_id", "owner_id"} & self.model_fields_set:
            return None
        return NewOwner(user_id=self.owner_user_id, owner_id=self.owner_id)


class WalletOut(Strict):
    """A wallet."""

    id: str
    address: str
    chain_type: str
    public_key: str
    owner_user_id: str | None
    owner_id: str | None
    policy_ids: list[str]
    display_name: str | None
    external_id: str | None
    status: Literal["active", "frozen"]
    archived_at: str | None
    version: int
    created_at: str


class PolicyIn(BaseModel):
    """A policy document: version "1.0", name, chain_type and rules. It is checked as a whole when it is written."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "required": ["name", "chain_type", "rules"],
            "properties": {
                "version": {"type": "string", "const": "1.0"},
                "name": {"type": "string", "maxLength": 50},
                "chain_type": {"type": "string", "enum": ["ethereum", "cardano"]},
                "rules": {"type": "array", "items": {"type": "object"}, "maxItems": 100},
            },
        },
    )


class OwnedPolicyIn(PolicyIn):
    """A policy document, and the authorization key or quorum that must sign its changes."""

    owner_id: Id | None = Field(
        None, description="Where it is absent from a change, the owner stays; null takes it away."
    )

    def document(self) -> dict[str, Any]:
        """The document alone."""
        return self.model_dump(exclude={"owner_id"})

    def new_owner(self) -> NewOwner | None:
        """To whom the policy is given; None: it stays whose it is."""
        return NewOwner(owner_id=self.owner_id) if "owner_id" in self.model_fields_set else None


class PolicyOut(Strict):
    """A policy with its revision in force."""

    id: str
    version: str
    name: str
    chain_type: str
    owner_user_id: str | None
    owner_id: str | None
    revision: int
    rules: list[dict[str, Any]]
    created_at: str
    updated_at: str


class PoliciesOut(Strict):
    """A page of policies."""

    items: list[PolicyOut]
    next_cursor: str | None


class PolicyRevisionOut(Strict):
    """One document that a policy had, or has."""

    revision: int
    name: str
    rules: list[dict[str, Any]]
    created_by: str
    created_at: str


class PolicyRevisionsOut(Strict):
    """A page of revisions, the newest first."""

    items: list[PolicyRevisionOut]
    next_cursor: str | None


class ChangedRuleOut(Strict):
    """A rule that is in both revisions, and not the same."""

    before: dict[str, Any]
    after: dict[str, Any]


class PolicyDiffOut(Strict):
    """What became of the rules between two revisions; a rule is known by its id."""

    before: int
    after: int
    added: list[dict[str, Any]]
    removed: list[dict[str, Any]]
    changed: list[ChangedRuleOut]


class RpcIn(BaseModel):
    """A request to sign or to send. Its members are checked by the method's own rules, all faults together."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "required": ["method", "params"],
            "properties": {
                "method": {
                    "type": "string",
                    "enum": list(METHODS),
                },
                "caip2": {"type": "string", "examples": ["eip155:31337"]},
                "chain_type": {"type": "string", "enum": ["ethereum", "cardano"]},
                "params": {"type": "object"},
                "preview_digest": {"type": "string", "pattern": "^0x[0-9a-f]{64}$"},
            },
        },
    )


class EvaluateIn(Strict):
    """A request to be tried against a policy."""

    wallet_id: Id
    request: RpcIn
    document: PolicyIn | None = Field(None, description="Tried in place of the document in force.")


class ConditionTraceOut(Strict):
    """One condition against the request; seen is null where the request has no such field, or none that can be decoded."""

    field_source: str
    field: str
    operator: str
    wanted: list[str]
    seen: str | None
    holds: Literal["yes", "no", "unknown"]


class RuleTraceOut(Strict):
    """One rule against the request. What is unknown counts as holding for DENY and as not holding for ALLOW."""

    rule_id: str
    name: str
    action: Literal["ALLOW", "DENY"]
    holds: Literal["yes", "no", "unknown"]
    conditions: list[ConditionTraceOut]


class EvaluationOut(Strict):
    """What a policy alone says about a request. The wallet may have other policies, and all of them must allow."""

    allowed: bool
    reason_code: str
    reason: str
    rule_id: str | None
    revision: int | None = Field(description="Revision that was asked; null: the proposed document.")
    unmet: ConditionTraceOut | None = Field(description="What keeps the closest ALLOW rule from matching.")
    rules: list[RuleTraceOut] = Field(description="Rules for the method, in the order in which they are asked.")
    limits: list[LimitOut] = Field(description="Sums that its ALLOW rules limit.")


class SessionSignerIn(Strict):
    """What a session signer is to be allowed, inside the wallet's own policies."""

    expires_at: Moment
    allowed_methods: Annotated[list[MethodName], Field(min_length=1, max_length=len(METHODS))]
    policy_ids: Annotated[list[Id], Field(default_factory=list, max_length=10)]
    max_value_per_transaction: AmountIn | None = None
    max_total_value: AmountIn | None = Field(
        None, description="Most native coin in all, over all chains together, however it is wrapped."
    )
    max_value_per_window: AmountIn | None = Field(None, description="Most native coin within window_seconds.")
    window_seconds: Annotated[int, Field(ge=3_600, le=259_200)] | None = None
    max_transactions: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        None, description="Most requests that are signed or sent, of every kind."
    )
    grantee: Annotated[str, StringConstraints(pattern=r"^(token|key|module:[a-z][a-z_]{1,40})$")] = "token"
    authorization_key_id: Id | None = Field(
        None,
        description="Authorization key that must sign each request; with the grantee key it is all that is needed.",
    )
    display_name: Name | None = None


class SessionSignerOut(Strict):
    """A session signer."""

    id: str
    wallet_id: str
    grantee: str
    display_name: str | None
    allowed_methods: list[str]
    policy_ids: list[str]
    max_value_per_transaction: Amount | None
    max_total_value: Amount | None
    max_value_per_window: Amount | None
    window_seconds: int | None
    max_transactions: int | None
    authorization_key_id: str | None
    status: Literal["active", "revoked"]
    expires_at: str
    created_at: str
    revoked_at: str | None


class NewSessionSignerOut(Strict):
    """A new session signer; its token is shown only here, and null for modules."""

    session_signer: SessionSignerOut
    token: str | None = Field(repr=False)


class SessionSignersOut(Strict):
    """A page of session signers."""

    items: list[SessionSignerOut]
    next_cursor: str | None


class RpcOut(Strict):
    """The answer of a method."""

    method: MethodName
    data: dict[str, Any]


class DetailOut(Strict):
    """One line of what would be signed, with what is inside it."""

    label: str
    value: str
    children: list[DetailOut] = Field(default_factory=list)


class ViewOut(Strict):
    """What would be signed, in words."""

    sentence: str
    details: list[DetailOut]
    warnings: list[str]


class LimitOut(Strict):
    """A limit that the request meets, as it stood before the request; nothing of it is used by looking."""

    limit: str = Field(description="aggregation.<id>, or the cap of a session signer.")
    name: str
    policy_id: str | None
    rule_id: str | None = Field(description="Rule that sets the maximum; null: the session signer does.")
    maximum: str
    used: str
    left: str
    asked: str | None = Field(description="What the request asks for; null: it cannot be told.")
    window_seconds: int | None = Field(description="Length of the rolling window; null: it is counted for good.")


class WalletLimitOut(Strict):
    """A limit of a wallet as it stands now."""

    limit: str = Field(description="aggregation.<id>, or the cap of the calling session signer.")
    name: str
    policy_id: str | None
    rule_id: str | None
    maximum: str
    used: str
    left: str
    window_seconds: int | None
    frees_at: str | None = Field(description="When the oldest part leaves the window; null: nothing does.")


class WalletLimitsOut(Strict):
    """Limits that hold whatever is asked for; those whose group depends on the request are told by its preview."""

    items: list[WalletLimitOut]


class VerdictOut(Strict):
    """What the policies say."""

    allowed: bool
    reason_code: str
    reason: str
    policy_id: str | None
    rule_id: str | None
    policy_revisions: dict[str, int]
    limits: list[LimitOut]


class QuoteOut(Strict):
    """What it would cost, and whether it would go through now."""

    gas_limit: Amount
    max_fee_per_gas: Amount
    max_priority_fee_per_gas: Amount
    data_fee: Amount = Field(description="Beside the gas, for the parent chain of a roll-up.")
    max_fee: Amount = Field(description="The most that gas and data can cost together.")
    will_revert: str | None
    simulation: dict[str, Any]


class AuthorizationOut(Strict):
    """How many members of the owner, or the key of the session signer, must authorise a request, and how many did."""

    owner_id: str | None
    needed: int
    given: int


class PreviewOut(Strict):
    """What a person is shown before something is signed; the digest binds all of it."""

    digest: str
    expires_at: str | None
    method: MethodName
    view: ViewOut
    verdict: VerdictOut
    authorization: AuthorizationOut | None = Field(
        description="What keys must sign before it is carried out; null: the caller's credentials are enough."
    )
    quote: QuoteOut | None


class AuditEntryOut(Strict):
    """One entry of the audit log: the record, and the hashes that chain it."""

    shard: int
    seq: int
    prev_hash: str
    entry_hash: str
    record: dict[str, Any]


class AuditEntriesOut(Strict):
    """A page of audit entries, newest first."""

    items: list[AuditEntryOut]
    next_cursor: str | None
