"""Routes of the registry: making wallets, listing them, putting them away."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from lockstep.chains.evm import BadAddress, parse_address
from lockstep.custody import errors, views
from lockstep.custody.access.api import TENANT_ERRORS, Authenticate, IdPath
from lockstep.custody.access.schemas import Strict
from lockstep.custody.authority.api import SIGNED
from lockstep.custody.authority.errors import OwnerInvalid, OwnerNotFound
from lockstep.custody.execution import SignerBusy, SignerUnavailable
from lockstep.custody.idempotency import claim_for
from lockstep.custody.registry import schemas
from lockstep.custody.registry.service import WalletRegistry
from lockstep.custody.registry.types import WalletFilter
from lockstep.custody.responses import IDEMPOTENT, Cursor, Key, Limit, answer
from lockstep.custody.schemas import WalletOut
from lockstep.custody.types import Principal, Wallet
from lockstep.kit.fields import FieldUnknown, parse_fields, select_fields
from lockstep.kit.paging import DEFAULT_LIMIT, BadCursor
from lockstep.kit.problems import problems

_MAKING = (
    *TENANT_ERRORS,
    *IDEMPOTENT,
    errors.PolicyNotFound,
    errors.UserNotFound,
    errors.TooManyPolicies,
    errors.ExternalIdTaken,
    OwnerNotFound,
    OwnerInvalid,
    SignerUnavailable,
    SignerBusy,
)
_CHANGING = (*TENANT_ERRORS, *SIGNED, errors.WalletNotFound, errors.OwnerRequired)


def registry_router(registry: WalletRegistry, authenticate: Authenticate) -> APIRouter:
    """Routes of the registry."""
    router = APIRouter(prefix="/wallets")
    caller = Depends(authenticate)

    async def make(
        request: Request,
        principal: Principal,
        wallets: Sequence[schemas.WalletIn],
        body: Strict,
        key: str | None,
        describe: Callable[[list[Wallet]], dict[str, Any]],
    ) -> Response:
        path, wanted = request.scope["path"], [one.wanted() for one in wallets]
        if key is None:
            return JSONResponse(describe(await registry.create_wallets(principal, wanted)), status_code=201)
        claim = claim_for(principal, "POST", path, key, body.model_dump(mode="json"))
        return answer(await registry.create_wallets_once(principal, wanted, claim, describe), path)

    @router.post(
        "", operation_id="create_wallet", status_code=201, response_model=WalletOut, responses=problems(*_MAKING)
    )
    async def create_wallet(
        request: Request, body: schemas.WalletIn, principal: Annotated[Principal, caller], key: Key = None
    ) -> Response:
        """Make a wallet. A user's wallet is owned by that user."""
        return await make(request, principal, [body], body, key, lambda made: views.describe_wallet(made[0]))

    @router.post(
        "/batch",
        operation_id="create_wallets",
        status_code=201,
        response_model=schemas.WalletBatchOut,
        responses=problems(*_MAKING),
    )
    async def create_wallets(
        request: Request, body: schemas.WalletBatchIn, principal: Annotated[Principal, caller], key: Key = None
    ) -> Response:
        """Make up to 100 wallets: all of them or none."""

        def describe(made: list[Wallet]) -> dict[str, object]:
            return {"items": [views.describe_wallet(wallet) for wallet in made]}

        return await make(request, principal, body.wallets, body, key, describe)

    @router.get(
        "",
        operation_id="list_wallets",
        response_model=schemas.WalletsOut | schemas.SelectedOut,
        responses=problems(*TENANT_ERRORS, BadCursor, BadAddress, FieldUnknown),
    )
    async def list_wallets(
        principal: Annotated[Principal, caller],
        user_id: Annotated[str | None, Query(max_length=64, description="Owner.")] = None,
        owner_id: Annotated[str | None, Query(max_length=64, description="Authorization key or quorum.")] = None,
        address: Annotated[str | None, Query(max_length=64)] = None,
        external_id: Annotated[str | None, Query(max_length=64)] = None,
        chain_type: Literal["ethereum", "cardano"] | None = None,
        status: Literal["active", "frozen"] | None = None,
        include_archived: bool = False,
        fields: Annotated[
            str | None, Query(max_length=300, description="Members to show, with commas between them.")
        ] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Response:
        """Wallets that the caller may see, oldest first, without those that are archived."""
        shown = parse_fields(fields, WalletOut.model_fields)
        wanted = WalletFilter(
            user_id=user_id,
            owner_id=owner_id,
            address=None if address is None else parse_address(address),
            external_id=external_id,
            chain_type=chain_type,
            status=status,
            include_archived=include_archived,
        )
        page = await registry.list_wallets(principal, wanted, cursor=cursor, limit=limit)
        items = [select_fields(views.describe_wallet(wallet), shown) for wallet in page.items]
        return JSONResponse({"items": items, "next_cursor": page.next_cursor})

    @router.post("/{wallet_id}/archive", operation_id="archive_wallet", responses=problems(*_CHANGING))
    async def archive_wallet(wallet_id: IdPath, principal: Annotated[Principal, caller]) -> WalletOut:
        """Put a wallet away: it signs nothing, and lists leave it out. Its owner may restore it."""
        return WalletOut(**views.describe_wallet(await registry.set_archived(principal, wallet_id, True)))

    @router.post("/{wallet_id}/restore", operation_id="restore_wallet", responses=problems(*_CHANGING))
    async def restore_wallet(wallet_id: IdPath, principal: Annotated[Principal, caller]) -> WalletOut:
        """Put an archived wallet back into use."""
        return WalletOut(**views.describe_wallet(await registry.set_archived(principal, wallet_id, False)))

    return router
