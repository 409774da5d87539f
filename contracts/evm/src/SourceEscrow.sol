// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {BaseEscrow} from "./BaseEscrow.sol";
import {TimeLocksLib} from "./libraries/TimeLocksLib.sol";
import {Immutables} from "./Types.sol";

/// @title Escrow of the maker's tokens on the source chain
/// @notice Pays the taker who shows the secret in time, else the maker gets the tokens back. Windows are half-open,
/// in seconds after creation, W < PW < C < PC:
///   [0, W) nothing; [W, C) withdraw, withdrawTo by the taker; [PW, C) publicWithdraw by anyone, to the taker;
///   [C, ∞) cancel by the taker, to the maker; [PC, ∞) publicCancel by anyone, to the maker.
/// The safety deposit goes to the caller. No withdrawal is possible once cancellation opened: a taker who learns the
/// secret but does not use it before C loses these tokens to the maker.
/// How it is stopped: by nobody; see BaseEscrow.
contract SourceEscrow is BaseEscrow {
    using TimeLocksLib for uint256;

    /// @notice The target of a withdrawal is missing or is the escrow itself.
    error InvalidTarget(address target);

    /// @param rescueDelay_ seconds after creation from which `rescueFunds` is open
    constructor(uint32 rescueDelay_) BaseEscrow(rescueDelay_) {}

    /// @notice Pays the tokens and the deposit to the taker. The taker only, in [W, C).
    /// How it is stopped: by nobody; it ends at C.
    /// @param secret the 32 bytes behind the hashlock
    /// @param immutables the escrow's immutables
    function withdraw(bytes32 secret, Immutables calldata immutables) external {
        withdrawTo(secret, msg.sender, immutables);
    }

    /// @notice Pays the tokens to a target of the taker's choice and the deposit to the taker. The taker only, in [W, C).
    /// How it is stopped: by nobody; it ends at C.
    /// @param secret the 32 bytes behind the hashlock
    /// @param target who receives the tokens
    /// @param immutables the escrow's immutables
    function withdrawTo(bytes32 secret, address target, Immutables calldata immutables)
        public
        nonReentrant
        onlyValid(immutables)
        onlyTaker(immutables)
        onlyFrom(immutables.timelocks.startOf(TimeLocksLib.Stage.SourceWithdrawal))
        onlyBefore(immutables.timelocks.startOf(TimeLocksLib.Stage.SourceCancellation))
    {
        if (target == address(0) || target == address(this)) revert InvalidTarget(target);
        _withdraw(secret, target, immutables);
    }

    /// @notice Pays the tokens to the taker and the deposit to the caller. Anyone, in [PW, C).
    /// How it is stopped: by nobody; it ends at C.
    /// @param secret the 32 bytes behind the hashlock
    /// @param immutables the escrow's immutables
    function publicWithdraw(bytes32 secret, Immutables calldata immutables)
        external
        nonReentrant
        onlyValid(immutables)
        onlyFrom(immutables.timelocks.startOf(TimeLocksLib.Stage.SourcePublicWithdrawal))
        onlyBefore(immutables.timelocks.startOf(TimeLocksLib.Stage.SourceCancellation))
    {
        _withdraw(secret, immutables.taker, immutables);
    }

    /// @notice Pays the tokens back to the maker and the deposit to the taker. The taker only, from C on.
    /// How it is stopped: by nobody.
    /// @param immutables the escrow's immutables
    function cancel(Immutables calldata immutables)
        external
        nonReentrant
        onlyValid(immutables)
        onlyTaker(immutables)
        onlyFrom(immutables.timelocks.startOf(TimeLocksLib.Stage.SourceCancellation))
    {
        _cancel(immutables.maker, immutables);
    }

    /// @notice Pays the tokens back to the maker and the deposit to the caller. Anyone, from PC on.
    /// How it is stopped: by nobody.
    /// @param immutables the escrow's immutables
    function publicCancel(Immutables calldata immutables)
        external
        nonReentrant
        onlyValid(immutables)
        onlyFrom(immutables.timelocks.startOf(TimeLocksLib.Stage.SourcePublicCancellation))
    {
        _cancel(immutables.maker, immutables);
    }
}
