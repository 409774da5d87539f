"""Previews: what would be signed in words, what the policies say, what it would cost, and a digest that binds it.

An execution that names the digest is carried out on exactly these terms or refused: the view, the policy revisions, the
verdict, the words, and for a transaction the ceilings of gas and fees and whether it would revert.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from lockstep.custody.authority.types import Authorisation
from lockstep.custody.errors import BatchNotSupported, PreviewOutdated
from lockstep.custody.ports import Sender
from lockstep.custody.seals import Seals
from lockstep.custody.signing import store
from lockstep.custody.signing.limits import Ask, SpendingLimits
from lockstep.custody.signing.policies import PolicyShelf
from lockstep.custody.signing.rules import authorisation_of, check_visible, rule_on
from lockstep.custody.signing.types import Authority, Ruling
from lockstep.custody.signing.views import view_of
from lockstep.custody.types import Principal, Quote, TransactionIntent
from lockstep.custody.view import (
    RequestView,
    RpcRequest,
    SendTransaction,
    WordFacts,
    Words,
    describe,
    preview_digest,
    sent_draft,
)
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database
from lockstep.kit.ids import CorrelationId, WalletId

LIFETIME: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTerms:
    """The part of a preview that no request carries: what the engine said about cost and outcome."""

    gas_limit: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    will_revert: str | None

    def apply(self, request: SendTransaction) -> SendTransaction:
        """The request inside these ceilings; numbers that the caller gave stay as they are."""
        draft = request.draft
        fee = self.max_fee_per_gas if draft.max_fee_per_gas is None else draft.max_fee_per_gas
        tip = draft.max_priority_fee_per_gas
        return replace(
            request,
            draft=replace(
                draft,
                gas_limit=self.gas_limit if draft.gas_limit is None else draft.gas_limit,
                max_fee_per_gas=fee,
                max_priority_fee_per_gas=min(self.max_priority_fee_per_gas, fee) if tip is None else tip,
            ),
        )

    def facts(self) -> dict[str, int | str | bool | None]:
        return {
            "gas_limit": self.gas_limit,
            "max_fee_per_gas": self.max_fee_per_gas,
            "max_priority_fee_per_gas": self.max_priority_fee_per_gas,
            "will_revert": self.will_revert,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a person is shown before something is signed."""

    digest: str
    """0x hex; names everything below."""
    expires_at: datetime | None
    """None: it holds until something changes."""
    method: str
    words: Words
    ruling: Ruling
    quote: Quote | None
    """None: nothing is sent."""
    owner_id: str | None = None
    """The key or quorum that must authorise the request; None: the caller's credentials are enough."""
    authorisation: Authorisation | None = None
    """How far that is already so."""


class Previewer:
    """Makes previews, and says later what was shown."""

    def __init__(
        self,
        database: Database,
        shelf: PolicyShelf,
        limits: SpendingLimits,
        seals: Seals,
        sender: Sender,
        clock: Clock,
        word_facts: WordFacts,
    ) -> None:
        self._database = database
        self._seals = seals
        self._shelf = shelf
        self._limits = limits
        self._sender = sender
        self._clock = clock
        self._word_facts = word_facts

    async def preview(self, principal: Principal, wallet_id: WalletId, request: RpcRequest) -> Preview:
        """Show what a request would do; signs and sends nothing.

        Raises:
            WalletNotFound: there is none for this caller.
            WrongSender, MalformedTransaction: the request does not hold for this wallet.
            Retry: the chain cannot be asked at the moment.
        """
        authority = await self._authority(principal, wallet_id)
        quote = terms = None
        if isinstance(request, SendTransaction):
            await self._check_batch(authority, request)
            request = with_type(request, self._sender)
            view_of(authority, request)
            quote = await self._sender.quote(intent_of(authority, request, key="preview"))
            terms = terms_of(quote)
            request = terms.apply(request)
        now = self._clock.now()
        async with self._database.tenant(principal.tenant) as uow:
            (authority_now,) = await store.load_authorities(
                uow, self._seals, principal.tenant, [(wallet_id, principal.session_id)]
            )
            authority = check_visible(principal, authority_now)
            view = view_of(authority, request)
            policies = await self._shelf.load(uow, [authority])
            members = await self._shelf.load_members(uow, principal, authority, view, policies, now)
            ask = Ask(principal, authority, view)
            charges, scales = await self._limits.weigh(uow, ask, policies, now, lock=False)
            # What keys must sign is signed when it is asked for: shown is what it will mean then.
            ruling = rule_on(
                principal, authority, view, policies, now, members, scales.readings(charges), needs_proof=False
            )
            digest = self.digest(view, ruling, terms)
            if terms is not None:
                await store.save_preview(
                    uow,
                    principal.tenant,
                    bytes.fromhex(digest[2:]),
                    wallet_id,
                    {name: None if value is None else str(value) for name, value in terms.facts().items()},
                    now + LIFETIME,
                )
        return Preview(
            digest=digest,
            expires_at=None if terms is None else now + LIFETIME,
            method=str(request.method),
            words=describe(view, self._word_facts),
            ruling=ruling,
            quote=quote,
            owner_id=None if authority.owner is None else authority.owner.id,
            authorisation=authorisation_of(principal, authority),
        )

    async def check_batch(self, principal: Principal, wallet_id: WalletId, request: SendTransaction) -> None:
        """Refuse several calls where they cannot be made together.

        Raises:
            WalletNotFound: there is none for this caller.
            BatchNotSupported: the account runs no code that makes calls in a batch.
        """
        await self._check_batch(await self._authority(principal, wallet_id), request)

    async def _check_batch(self, authority: Authority, request: SendTransaction) -> None:
        if len(request.calls) > 1 and not await self._sender.runs_batches(request.chain, authority.address):
            raise BatchNotSupported

    async def find_terms(self, principal: Principal, wallet_id: WalletId, request: SendTransaction) -> ShownTerms:
        """The ceilings that were shown under the digest that a request names, with the outcome as it is now.

        Raises:
            PreviewOutdated: nothing was shown under it for this wallet, or too long ago.
        """
        digest = bytes.fromhex((request.preview_digest or "0x")[2:])
        async with self._database.tenant(principal.tenant) as uow:
            found = await store.find_preview(uow, principal.tenant, wallet_id, digest, self._clock.now())
        if found is None:
            raise PreviewOutdated("this preview is not known for this wallet, or has expired; show a new one")
        shown = _read_terms(found)
        authority = await self._authority(principal, wallet_id)
        quote = await self._sender.quote(intent_of(authority, shown.apply(request), key="preview"))
        return replace(shown, will_revert=quote.will_revert)

    def digest(self, view: RequestView, ruling: Ruling, terms: ShownTerms | None) -> str:
        """What names a preview with these contents."""
        return preview_digest(
            view,
            ruling.revisions.items(),
            decision=f"allow {ruling.owner or ''}".strip() if ruling.allowed else f"deny {ruling.reason_code}",
            sentence=describe(view, self._word_facts).sentence,
            quote=None if terms is None else terms.facts(),
        )

    async def _authority(self, principal: Principal, wallet_id: WalletId) -> Authority:
        async with self._database.tenant(principal.tenant) as uow:
            (authority,) = await store.load_authorities(
                uow, self._seals, principal.tenant, [(wallet_id, principal.session_id)]
            )
        return check_visible(principal, authority)


def with_type(request: SendTransaction, sender: Sender) -> SendTransaction:
    """The request with the type of transaction that its chain takes, which no caller chooses.

    Raises:
        UnknownChain: the chain is not configured.
    """
    return replace(request, draft=replace(request.draft, type=sender.transaction_type(request.chain)))


def intent_of(
    authority: Authority, request: SendTransaction, *, key: str, correlation_id: CorrelationId | None = None
) -> TransactionIntent:
    """What a request to send asks the engine to do."""
    draft = sent_draft(request, authority.address)
    return TransactionIntent(
        app_id=authority.app_id,
        wallet_id=authority.wallet_id,
        chain=request.chain,
        from_address=authority.address,
        to=draft.to,
        value=draft.value,
        data=draft.data,
        gas_limit=draft.gas_limit,
        max_fee_per_gas=draft.max_fee_per_gas,
        max_priority_fee_per_gas=draft.max_priority_fee_per_gas,
        type=draft.type,
        speed=request.speed,
        is_private=request.is_private,
        idempotency_key=key,
        correlation_id=correlation_id,
    )


def terms_of(quote: Quote) -> ShownTerms:
    return ShownTerms(
        gas_limit=quote.gas_limit,
        max_fee_per_gas=quote.max_fee_per_gas,
        max_priority_fee_per_gas=quote.max_priority_fee_per_gas,
        will_revert=quote.will_revert,
    )


def _read_terms(found: dict[str, Any]) -> ShownTerms:
    return ShownTerms(
        gas_limit=int(found["gas_limit"]),
        max_fee_per_gas=int(found["max_fee_per_gas"]),
        max_priority_fee_per_gas=int(found["max_priority_fee_per_gas"]),
        will_revert=found["will_revert"],
    )
