// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import { ERC7821 } from "@openzeppelin/contracts/account/extensions/draft-ERC7821.sol";

/// @title An account's code that makes calls in a batch, for tests
/// @notice An account runs it by EIP-7702 and lets only itself ask for calls. Nothing to stop: the account takes its
/// delegation back.
contract DemoBatchAccount is ERC7821 {
    receive() external payable { }
}
