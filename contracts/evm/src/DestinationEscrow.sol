// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {BaseEscrow} from "./BaseEscrow.sol";
import {TimeLocksLib} from "./libraries/TimeLocksLib.sol";
import {Immutables} from "./Types.sol";

/// @title Escrow of the taker's tokens on the destination chain
/// @notice Pays the maker's receiver against the secret in time, else the taker gets the tokens back. Windows are
/// half-open, in seconds after creation, W' < PW' < C':
///   [0, W') nothing; [W', C') withdraw by the taker, to the receiver; [PW', C') publicWithdraw by anyone, to the
///   receiver; [C', ∞) cancel by the taker, to the taker.
/// The safety deposit goes to the caller. There is no public cancellation: the funds of a vanished taker wait for it.
/// How it is stopped: by nobody; see BaseEscrow.
contract DestinationEscrow is BaseEscrow {
    using TimeLocksLib for uint256;

    /// @param rescueDelay_ seconds after creation from which `rescueFunds` is open
    constructor(uint32 rescueDelay_) BaseEscrow(rescueDelay_) {}

    /// @notice Pays the tokens to the receiver and the deposit to the taker. The taker only, in [W', C').
    /// How it is stopped: by nobody; it ends at C'.
    /// @param secret the 32 bytes behind the hashlock
    /// @param immutables the escrow's immutables
    function withdraw(bytes32 secret, Immutables calldata immutables)
        external
        nonReentrant
        onlyValid(immutables)
        onlyTaker(immutables)
        onlyFrom(immutables.timelocks.startOf(TimeLocksLib.Stage.DestinationWithdrawal))
        onlyBefore(immutables.timelocks.startOf(TimeLocksLib.Stage.DestinationCancellation))
    {
        _withdraw(secret, immutables.maker, immutables);
    }

    /// @notice Pays the tokens to the receiver and the deposit to the caller. Anyone, in [PW', C').
    /// How it is stopped: by nobody; it ends at C'.
    /// @param secret the 32 bytes behind the hashlock
    /// @param immutables the escrow's immutables
    function publicWithdraw(bytes32 secret, Immutables calldata immutables)
        external
        nonReentrant
        onlyValid(immutables)
        onlyFrom(immutables.timelocks.startOf(TimeLocksLib.Stage.DestinationPublicWithdrawal))
        onlyBefore(immutables.timelocks.startOf(TimeLocksLib.Stage.DestinationCancellation))
    {
        _withdraw(secret, immutables.maker, immutables);
    }

    /// @notice Pays the tokens and the deposit back to the taker. The taker only, from C' on.
    /// How it is stopped: by nobody.
    /// @param immutables the escrow's immutables
    function cancel(Immutables calldata immutables)
        external
        nonReentrant
        onlyValid(immutables)
        onlyTaker(immutables)
        onlyFrom(immutables.timelocks.startOf(TimeLocksLib.Stage.DestinationCancellation))
    {
        _cancel(immutables.taker, immutables);
    }
}
