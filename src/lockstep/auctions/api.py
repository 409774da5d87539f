"""Routes of orders: post, list, read, price, cancel, take, secrets."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from lockstep.auctions import errors
from lockstep.auctions.book import describe
from lockstep.auctions.schemas import (
    AddressIn,
    AsOf,
    Chain,
    HeldSecretOut,
    OrderOut,
    OrderPage,
    OrderStateText,
    PostFill,
    PostOrder,
    PostSecret,
    PriceOut,
    PutHeldSecret,
    SecretOut,
    ShortBytes,
    ValidityText,
    from_hex,
    to_hex,
)
from lockstep.auctions.service import AuctionService
from lockstep.auctions.store import OrderFilter
from lockstep.chains.evm import BadSignature, NodeUnavailable, UnknownChain
from lockstep.custody import Principal
from lockstep.kit.clock import rfc3339
from lockstep.kit.errors import LockstepError
from lockstep.kit.paging import DEFAULT_LIMIT, MAX_LIMIT, BadCursor
from lockstep.kit.problems import problems
from lockstep.settlement import (
    FillTaken,
    NotAParty,
    PairUnknown,
    SecretMismatch,
    SecretNotReleased,
    SecretTooEarly,
    SecretTooLate,
    SwapNotFound,
    SwapOut,
    TimeLocksUnfit,
)
from lockstep.settlement import describe as describe_swap

OrderHash = Annotated[str, Path(pattern=r"^0x[0-9a-fA-F]{64}$", description="EIP-712 digest of the order.")]
WholeFill = Annotated[int, Path(ge=0, le=0, description="Orders are taken whole: 0.")]
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=256,
        pattern=r"^[\x21-\x7e]+$",
        description="The same taker has one swap per fill whatever the key: sending again is harmless.",
    ),
]


def router(
    service: AuctionService,
    authenticate: Callable[..., Awaitable[Principal]],
    *,
    fill_errors: Sequence[type[LockstepError]] = (),
    cancel_errors: Sequence[type[LockstepError]] = (),
) -> APIRouter:
    """Routes under /v1.

    Args:
        fill_errors, cancel_errors: what the ports behind taking and cancelling may refuse, to be declared.
    """
    routes = APIRouter(prefix="/orders", tags=["orders"])
    caller = Depends(authenticate)

    @routes.post(
        "",
        operation_id="post_order",
        status_code=201,
        responses={
            200: {"model": OrderOut, "description": "The order is in the book already."},
            **problems(
                errors.NotTheMaker,
                errors.OrderSignatureConflict,
                errors.HashlockUsed,
                errors.NonceUsed,
                errors.FactoryUnknown,
                errors.OrderAmountInvalid,
                errors.PriceCurveInvalid,
                errors.OrderTimesInvalid,
                errors.OrderExpired,
                errors.OrderSignatureInvalid,
                errors.HashlockInvalid,
                errors.ExtensionUnsupported,
                errors.DestinationInvalid,
                errors.MakerInvalid,
                errors.AllowedTakersInvalid,
                errors.DepositTooLow,
                errors.PermitInvalid,
                BadSignature,
                UnknownChain,
                PairUnknown,
                TimeLocksUnfit,
                NodeUnavailable,
            ),
        },
    )
    async def post_order(posted: PostOrder, response: Response, principal: Annotated[Principal, caller]) -> OrderOut:
        """Put a signed order into the book. Its hash makes this idempotent: the same order again answers 200."""
        order, is_new = await service.post_order(principal, posted)
        response.status_code = 201 if is_new else 200
        return OrderOut.model_validate(describe(order))

    @routes.get("", operation_id="list_orders", responses=problems(BadCursor))
    async def list_orders(
        principal: Annotated[Principal, caller],  # noqa: ARG001 - the book is public to every caller
        maker: Annotated[AddressIn | None, Query()] = None,
        state: Annotated[OrderStateText | None, Query()] = None,
        validity: Annotated[ValidityText | None, Query()] = None,
        source_chain: Annotated[Chain | None, Query()] = None,
        destination_chain: Annotated[Chain | None, Query()] = None,
        source_token: Annotated[ShortBytes | None, Query()] = None,
        destination_token: Annotated[ShortBytes | None, Query()] = None,
        cursor: Annotated[str | None, Query(max_length=512)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    ) -> OrderPage:
        """Orders of the book, the newest first."""
        wanted = OrderFilter(
            maker=from_hex(maker) if maker else None,
            state=state,
            validity=validity,
            source_chain=source_chain,
            destination_chain=destination_chain,
            source_token=from_hex(source_token) if source_token else None,
            destination_token=from_hex(destination_token) if destination_token else None,
        )
        page = await service.list_orders(wanted, cursor, limit)
        return OrderPage(
            items=[OrderOut.model_validate(describe(order)) for order in page.items], next_cursor=page.next_cursor
        )

    @routes.get("/{order_hash}", operation_id="get_order", responses=problems(errors.OrderNotFound))
    async def get_order(
        order_hash: OrderHash,
        principal: Annotated[Principal, caller],  # noqa: ARG001 - the book is public to every caller
    ) -> OrderOut:
        """One order with its fills."""
        return OrderOut.model_validate(describe(await service.get_order(from_hex(order_hash))))

    @routes.get(
        "/{order_hash}/price",
        operation_id="get_order_price",
        responses=problems(errors.OrderNotFound, NodeUnavailable),
    )
    async def get_price(
        order_hash: OrderHash,
        principal: Annotated[Principal, caller],  # noqa: ARG001 - the book is public to every caller
        at: Annotated[
            int | None, Query(ge=0, le=2**64 - 1, description="Source chain time; default: its head.")
        ] = None,
    ) -> PriceOut:
        """What a taker owes the maker at a moment of the source chain."""
        price = await service.get_price(from_hex(order_hash), at)
        return PriceOut(
            order_hash=to_hex(price.order_hash),
            at=price.at,
            rate_bump=price.rate_bump,
            destination_amount=price.destination_amount,
            as_of=AsOf(
                chain=price.head.chain,
                block_number=str(price.head.number),
                block_hash=to_hex(price.head.hash),
                timestamp=price.head.timestamp,
            ),
        )

    @routes.delete(
        "/{order_hash}",
        operation_id="cancel_order",
        responses=problems(errors.OrderNotFound, errors.NotTheMaker, errors.OrderNotOpen, *cancel_errors),
    )
    async def cancel_order(order_hash: OrderHash, principal: Annotated[Principal, caller]) -> OrderOut:
        """Ask to cancel. The order is no longer offered; it is `cancelled` once its nonce is invalidated for good. An
        external maker sends `invalidateNonce` itself."""
        return OrderOut.model_validate(describe(await service.cancel_order(principal, from_hex(order_hash))))

    @routes.post(
        "/{order_hash}/fills",
        operation_id="fill_order",
        status_code=201,
        responses=problems(
            errors.OrderNotFound,
            errors.OrderNotOpen,
            errors.OrderNotFillable,
            errors.OrderExpired,
            errors.AuctionNotStarted,
            errors.TakerNotAllowed,
            errors.NotTheTaker,
            errors.FillInvalid,
            errors.TakerFundsLow,
            FillTaken,
            PairUnknown,
            TimeLocksUnfit,
            NodeUnavailable,
            *fill_errors,
        ),
    )
    async def fill_order(
        order_hash: OrderHash,
        asked: PostFill,
        principal: Annotated[Principal, caller],
        idempotency_key: IdempotencyKey,  # noqa: ARG001 - one swap per taker and fill, whatever the key
    ) -> SwapOut:
        """Take an order: opens its swap, which settles or is undone by itself."""
        swap = await service.fill_order(principal, from_hex(order_hash), asked)
        return SwapOut.model_validate(describe_swap(swap))

    @routes.post(
        "/{order_hash}/secrets",
        operation_id="submit_secret",
        responses=problems(
            errors.OrderNotFound,
            errors.NotTheMaker,
            SwapNotFound,
            SecretMismatch,
            SecretTooEarly,
            SecretTooLate,
            NodeUnavailable,
        ),
    )
    async def submit_secret(
        order_hash: OrderHash, body: PostSecret, principal: Annotated[Principal, caller]
    ) -> SwapOut:
        """Release the secret of a fill, by the maker's client, once both escrows are final. Too early a submission is
        refused and stored nowhere."""
        swap = await service.submit_secret(principal, from_hex(order_hash), body.fill_index, from_hex(body.secret))
        return SwapOut.model_validate(describe_swap(swap))

    @routes.put(
        "/{order_hash}/fills/{fill_index}/held-secret",
        operation_id="hold_secret",
        responses=problems(errors.OrderNotFound, errors.NotTheMaker, SecretMismatch, SecretTooLate),
    )
    async def hold_secret(
        order_hash: OrderHash, fill_index: WholeFill, body: PutHeldSecret, principal: Annotated[Principal, caller]
    ) -> HeldSecretOut:
        """Leave the secret of a fill here, sealed: it is released for you as soon as both escrows are final and every
        check of a release holds. Yours to choose: whoever leaves it trusts this deployment to look at both chains."""
        held_at = await service.hold_secret(principal, from_hex(order_hash), fill_index, from_hex(body.secret))
        return HeldSecretOut(order_hash=order_hash.lower(), fill_index=fill_index, held_at=rfc3339(held_at))

    @routes.delete(
        "/{order_hash}/fills/{fill_index}/held-secret",
        operation_id="take_back_secret",
        status_code=204,
        responses=problems(errors.OrderNotFound, errors.NotTheMaker, SecretTooLate),
    )
    async def take_back_secret(
        order_hash: OrderHash, fill_index: WholeFill, principal: Annotated[Principal, caller]
    ) -> None:
        """Have a held secret forgotten, before it is released; your client then releases it itself."""
        await service.take_back_secret(principal, from_hex(order_hash), fill_index)

    @routes.get(
        "/{order_hash}/fills/{fill_index}/secret",
        operation_id="get_secret",
        responses=problems(SwapNotFound, NotAParty, SecretNotReleased),
    )
    async def get_secret(
        order_hash: OrderHash,
        fill_index: Annotated[int, Path(ge=0, le=2**31 - 1)],
        response: Response,
        principal: Annotated[Principal, caller],
    ) -> SecretOut:
        """The released secret, for the taker of this fill only."""
        secret = await service.get_secret(principal, from_hex(order_hash), fill_index)
        response.headers["Cache-Control"] = "no-store"
        return SecretOut(order_hash=order_hash.lower(), fill_index=fill_index, secret=to_hex(secret))

    return routes
