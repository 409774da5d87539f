// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {DemoToken} from "../../src/DemoToken.sol";

/// @title Token that takes a fee, for tests only
/// @notice A demo token of which every transfer between two accounts burns 1 %, rounded up. Escrow factories must
/// refuse it.
contract DemoFeeToken is DemoToken {
    /// @notice Creates a token without supply; the deployer owns it.
    /// @param name_ name
    /// @param symbol_ ticker
    /// @param decimals_ places of the display unit
    constructor(string memory name_, string memory symbol_, uint8 decimals_) DemoToken(name_, symbol_, decimals_) {}

    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0) || to == address(0)) {
            super._update(from, to, value);
            return;
        }
        uint256 fee = (value + 99) / 100;
        super._update(from, to, value - fee);
        super._update(from, address(0), fee);
    }
}
