// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {Immutables} from "../Types.sol";

/// @title Hash of an escrow's immutables
/// @notice keccak256 over nine words: the eight fixed members and keccak256 of the parameters.
library ImmutablesLib {
    /// @notice Hash of immutables in memory.
    /// @param immutables the immutables
    /// @return salt of the escrow's address
    function hash(Immutables memory immutables) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                immutables.orderHash,
                immutables.hashlock,
                immutables.maker,
                immutables.taker,
                immutables.token,
                immutables.amount,
                immutables.safetyDeposit,
                immutables.timelocks,
                keccak256(immutables.parameters)
            )
        );
    }

    /// @notice Encoded fees of an escrow without fees: (0, 0, address(0), address(0)).
    /// @return 128 zero bytes
    function noFees() internal pure returns (bytes memory) {
        return new bytes(128);
    }

    /// @notice Whether the parameters say that nobody takes a fee: the only kind that exists now.
    /// @param parameters encoded fees
    /// @return true for exactly 128 zero bytes
    function isWithoutFees(bytes calldata parameters) internal pure returns (bool) {
        return keccak256(parameters) == keccak256(new bytes(128));
    }
}
