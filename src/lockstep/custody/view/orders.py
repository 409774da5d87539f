"""EIP-712 types of our own orders, as views know them."""

from __future__ import annotations

from typing import Final

ORDER: Final = (
    "Order(address maker,address sourceToken,uint256 sourceAmount,Destination destination,PriceCurve price,"
    "Deposits deposits,TimeLocks timeLocks,bytes32 hashlockInfo,address[] allowedTakers,uint256 nonce,uint64 expiry,"
    "bytes32 extensionHash)"
    "Deposits(uint256 source,uint256 destination)"
    "Destination(string chain,bytes factory,bytes token,bytes receiver)"
    "PriceCurve(uint64 startTime,uint32 duration,uint256 endAmount,uint32 initialRateBump,PricePoint[] points)"
    "PricePoint(uint32 rateBump,uint32 delay)"
    "TimeLocks(uint32 sourceWithdrawal,uint32 sourcePublicWithdrawal,uint32 sourceCancellation,"
    "uint32 sourcePublicCancellation,uint32 destinationWithdrawal,uint32 destinationPublicWithdrawal,"
    "uint32 destinationCancellation)"
)
