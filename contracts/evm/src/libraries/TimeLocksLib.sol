// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {TimeLocks} from "../Types.sol";

/// @title Time locks in one word
/// @notice Eight fields of 32 bits, from the lowest: source withdrawal, public withdrawal, cancellation, public
/// cancellation; destination withdrawal, public withdrawal, cancellation; and the time of creation in the top 32 bits.
/// The seven stages are seconds after the creation of the escrow that carries the word.
library TimeLocksLib {
    /// @notice The stages, in the order of their place in the word.
    enum Stage {
        SourceWithdrawal,
        SourcePublicWithdrawal,
        SourceCancellation,
        SourcePublicCancellation,
        DestinationWithdrawal,
        DestinationPublicWithdrawal,
        DestinationCancellation
    }

    uint256 private constant DEPLOYED_AT_SHIFT = 224;

    /// @notice Packs seven time locks, without a time of creation.
    /// @param locks the signed time locks
    /// @return the word, its top 32 bits zero
    function pack(TimeLocks calldata locks) internal pure returns (uint256) {
        return uint256(locks.sourceWithdrawal) | (uint256(locks.sourcePublicWithdrawal) << 32)
            | (uint256(locks.sourceCancellation) << 64) | (uint256(locks.sourcePublicCancellation) << 96)
            | (uint256(locks.destinationWithdrawal) << 128) | (uint256(locks.destinationPublicWithdrawal) << 160)
            | (uint256(locks.destinationCancellation) << 192);
    }

    /// @notice Replaces the time of creation.
    /// @param word packed time locks
    /// @param time Unix seconds; the top field holds 32 bits, enough until 2106
    /// @return the word with its time of creation
    function withDeployedAt(uint256 word, uint256 time) internal pure returns (uint256) {
        return (word & (type(uint256).max >> 32)) | (uint256(uint32(time)) << DEPLOYED_AT_SHIFT);
    }

    /// @notice Time of creation.
    /// @param word packed time locks
    /// @return Unix seconds
    function deployedAt(uint256 word) internal pure returns (uint256) {
        return word >> DEPLOYED_AT_SHIFT;
    }

    /// @notice Length of a stage's delay.
    /// @param word packed time locks
    /// @param stage the stage
    /// @return seconds after the creation
    function delayOf(uint256 word, Stage stage) internal pure returns (uint256) {
        return uint32(word >> (uint256(stage) * 32));
    }

    /// @notice First second in which a stage is open; the sum does not wrap at 32 bits.
    /// @param word packed time locks
    /// @param stage the stage
    /// @return Unix seconds
    function startOf(uint256 word, Stage stage) internal pure returns (uint256) {
        return deployedAt(word) + delayOf(word, stage);
    }
}
