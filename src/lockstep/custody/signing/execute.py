"""The one way from a recorded decision to a signature: authorize once, sign, verify. Nothing else asks the signer for a
value signature (an architecture test looks for it)."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.chains.evm import BadSignature, recover_address
from lockstep.custody.errors import SignatureMismatch
from lockstep.custody.execution import (
    ED25519_OPS,
    AuthorizationIssuer,
    Executor,
    Signature,
    SignerIdentity,
    SignerRestarted,
    SigningRequest,
    fingerprint,
    is_signed_by,
    signed_content,
)
from lockstep.custody.signing.rules import revisions_digest
from lockstep.custody.signing.types import Execution
from lockstep.kit.errors import LockstepError


class SignatureExecutor:
    """Turns executions into signatures that were verified here."""

    def __init__(self, executor: Executor, issuer: AuthorizationIssuer) -> None:
        self._executor = executor
        self._issuer = issuer

    async def execute(self, executions: Sequence[Execution]) -> list[Signature | LockstepError]:
        """Sign what can be signed, in the order of the executions; holds no database transaction meanwhile.

        A signer that was restarted in between gets fresh authorizations once.
        """
        answers: list[Signature | LockstepError] = [SignerRestarted() for _ in executions]
        for _ in range(2):
            open_ones = [number for number, answer in enumerate(answers) if isinstance(answer, SignerRestarted)]
            if not open_ones:
                break
            try:
                signer = await self._executor.identity()
            except LockstepError as error:
                for number in open_ones:
                    answers[number] = error
                break
            requests = [self._request(executions[number], signer) for number in open_ones]
            for number, answer in zip(open_ones, await self._executor.sign_many(requests), strict=True):
                answers[number] = answer
        return [self._verified(execution, answer) for execution, answer in zip(executions, answers, strict=True)]

    def _request(self, execution: Execution, signer: SignerIdentity) -> SigningRequest:
        authorization = self._issuer.issue(
            signer,
            op=execution.payload.op,
            key=execution.key,
            payload_digest=execution.digest,
            policy_revision=revisions_digest(execution.revisions),
            decision_id=execution.decision_id,
        )
        return SigningRequest(
            key=execution.key,
            payload=execution.payload,
            auth_share=execution.auth_share,
            authorization=authorization,
        )

    @staticmethod
    def _verified(execution: Execution, answer: Signature | LockstepError) -> Signature | LockstepError:
        """The signature if it is by the wallet's key over what was decided on."""
        if isinstance(answer, LockstepError):
            return answer
        payload = execution.payload
        if payload.op in ED25519_OPS:
            content = signed_content(payload.op, payload.encode())
            is_own = fingerprint(execution.public_key) == execution.key.address
            return (
                answer
                if is_own and is_signed_by(execution.public_key, content, answer.content)
                else SignatureMismatch()
            )
        try:
            signer = recover_address(execution.digest, answer.content)
        except BadSignature as error:
            return SignatureMismatch(f"the signature does not hold: {error.detail}")
        return answer if signer == execution.key.address else SignatureMismatch()
