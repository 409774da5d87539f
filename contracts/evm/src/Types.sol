// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

/// @notice Where the maker wants to be paid. Chain-neutral: everything but the chain's name is raw bytes (20 on EVM).
/// @param chain CAIP-2 name of the destination chain, for example "eip155:31338"
/// @param factory the factory (or script) that must create the destination escrow
/// @param token the token that the maker receives
/// @param receiver who receives it
struct Destination {
    string chain;
    bytes factory;
    bytes token;
    bytes receiver;
}

/// @notice A bend of the price curve.
/// @param rateBump premium over the end amount, in 1/10,000,000
/// @param delay seconds after the previous point (the first: after the start)
struct PricePoint {
    uint32 rateBump;
    uint32 delay;
}

/// @notice The destination amount asked for, as a function of the source chain's time.
/// @param startTime first second (Unix) in which the order can be taken
/// @param duration seconds until only the end amount is asked for
/// @param endAmount lowest destination amount, smallest unit of the destination token
/// @param initialRateBump premium at the start, in 1/10,000,000
/// @param points bends between start and end, oldest first
struct PriceCurve {
    uint64 startTime;
    uint32 duration;
    uint256 endAmount;
    uint32 initialRateBump;
    PricePoint[] points;
}

/// @notice Least safety deposits of the taker, in wei of each chain's native coin.
struct Deposits {
    uint256 source;
    uint256 destination;
}

/// @notice Seconds after the creation of the escrow of that side at which each stage opens.
struct TimeLocks {
    uint32 sourceWithdrawal;
    uint32 sourcePublicWithdrawal;
    uint32 sourceCancellation;
    uint32 sourcePublicCancellation;
    uint32 destinationWithdrawal;
    uint32 destinationPublicWithdrawal;
    uint32 destinationCancellation;
}

/// @notice What a maker signs (EIP-712, domain: source chain and source factory). A taker chooses nothing of it.
/// @param maker who sells `sourceAmount` of `sourceToken`
/// @param sourceToken ERC-20 on the source chain
/// @param sourceAmount smallest unit of the source token
/// @param destination where and in what the maker is paid
/// @param price the destination amount over time
/// @param deposits least safety deposits
/// @param timeLocks all seven time locks
/// @param hashlockInfo keccak256 of the 32 raw secret bytes
/// @param allowedTakers who may take the order; empty: anyone
/// @param nonce unordered nonce of the maker; its consumption or invalidation ends the order
/// @param expiry first second (Unix) in which the order can no longer be taken
/// @param extensionHash commitment to later kinds of orders; must be zero now
struct Order {
    address maker;
    address sourceToken;
    uint256 sourceAmount;
    Destination destination;
    PriceCurve price;
    Deposits deposits;
    TimeLocks timeLocks;
    bytes32 hashlockInfo;
    address[] allowedTakers;
    uint256 nonce;
    uint64 expiry;
    bytes32 extensionHash;
}

/// @notice Everything an escrow is about. Its hash is the salt of the escrow's address, so nothing of it is stored.
/// @param orderHash EIP-712 digest of the order
/// @param hashlock keccak256 of the 32 raw secret bytes
/// @param maker source: the maker; destination: the receiver of the tokens
/// @param taker who fills the order
/// @param token the escrowed ERC-20
/// @param amount smallest unit of the escrowed token
/// @param safetyDeposit wei that go to whoever finishes the escrow
/// @param timelocks packed time locks, see TimeLocksLib
/// @param parameters encoded fees: (0, 0, address(0), address(0)), that is 128 zero bytes, now
struct Immutables {
    bytes32 orderHash;
    bytes32 hashlock;
    address maker;
    address taker;
    address token;
    uint256 amount;
    uint256 safetyDeposit;
    uint256 timelocks;
    bytes parameters;
}

/// @notice What the source factory computed for the other side: the destination escrow must match every field.
/// @param chain CAIP-2 name of the destination chain
/// @param factory factory that must create the destination escrow
/// @param token token that must be escrowed
/// @param receiver who must receive it
/// @param amount exact amount, smallest unit of the destination token: the price at the source escrow's block
/// @param safetyDeposit least safety deposit, in wei of the destination chain
struct DestinationTerms {
    string chain;
    bytes factory;
    bytes token;
    bytes receiver;
    uint256 amount;
    uint256 safetyDeposit;
}
