"""The route of blind signing; everything else is signed through `rpc`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict

from lockstep.custody import errors
from lockstep.custody.access.api import TENANT_ERRORS, Authenticate, IdPath
from lockstep.custody.access.schemas import Strict
from lockstep.custody.execution import SignerBusy, SignerUnavailable
from lockstep.custody.idempotency import claim_for
from lockstep.custody.responses import IDEMPOTENT, Key, answer
from lockstep.custody.service import CustodyService
from lockstep.custody.types import Principal
from lockstep.custody.view import RpcInvalid
from lockstep.kit.problems import problems


class RawSignIn(BaseModel):
    """A hash to be signed, or bytes with the function that they are hashed with; all faults are told together."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "required": ["params"],
            "properties": {
                "params": {
                    "type": "object",
                    "properties": {
                        "hash": {"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$"},
                        "bytes": {"type": "string"},
                        "encoding": {"type": "string", "enum": ["hex", "utf-8"]},
                        "hash_function": {"type": "string", "enum": ["keccak256", "sha256"]},
                    },
                },
                "preview_digest": {"type": "string", "pattern": "^0x[0-9a-f]{64}$"},
            },
        },
    )


class RawSignOut(Strict):
    """A signature."""

    method: Literal["raw_sign"]
    data: dict[str, Any]


def raw_sign_router(service: CustodyService, authenticate: Authenticate) -> APIRouter:
    """The route of blind signing."""
    router = APIRouter()
    caller = Depends(authenticate)

    @router.post(
        "/wallets/{wallet_id}/raw_sign",
        operation_id="raw_sign",
        response_model=RawSignOut,
        responses=problems(
            *TENANT_ERRORS,
            *IDEMPOTENT,
            *errors.SIGNING_REFUSALS,
            RpcInvalid,
            errors.FamilyMismatch,
            errors.IdempotencyKeyMissing,
            errors.WalletNotFound,
            errors.PreviewOutdated,
            SignerUnavailable,
            SignerBusy,
        ),
    )
    async def raw_sign(
        request: Request, wallet_id: IdPath, body: RawSignIn, principal: Annotated[Principal, caller], key: Key = None
    ) -> Response:
        """Sign a hash, or bytes, blindly; only a rule that names `secp256k1_sign` allows it."""
        content, path = body.model_dump(), request.scope["path"]
        query = request.scope["query_string"].decode("latin-1")
        claim = claim_for(principal, "POST", path, key, content, query)
        return answer(await service.raw_sign(principal, wallet_id, content, claim), path)

    return router
