// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @notice A maker that is a contract: one key signs for it.
contract Wallet1271 is IERC1271 {
    address private immutable _signer;

    constructor(address signer) {
        _signer = signer;
    }

    function approve(IERC20 token, address spender) external {
        token.approve(spender, type(uint256).max);
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        return ECDSA.recover(hash, signature) == _signer ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// @notice A contract that answers questions about signatures in wrong ways.
contract GreedyWallet {
    uint256 private immutable _mode;

    constructor(uint256 mode) {
        _mode = mode;
    }

    fallback() external {
        if (_mode == 0) revert("no");
        if (_mode == 1) return;
        bytes32 answer = _mode == 2 ? bytes32(type(uint256).max) : bytes32(uint256(1));
        assembly ("memory-safe") {
            mstore(0, answer)
            return(0, 32)
        }
    }
}

/// @notice An account that takes no coins.
contract Penniless {
    function call(address target, bytes calldata data) external {
        (bool success, bytes memory answer) = target.call(data);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }
}

/// @notice An account that, whenever it is paid coins, makes a prepared call and notes whether it succeeded.
contract Reentrant {
    address private _target;
    bytes private _data;
    uint256 public attempts;
    uint256 public successes;

    function prepare(address target, bytes calldata data) external {
        _target = target;
        _data = data;
    }

    function call(address target, bytes calldata data, uint256 value) external payable returns (bytes memory) {
        (bool success, bytes memory answer) = target.call{value: value}(data);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        return answer;
    }

    function attack() public {
        if (_target == address(0)) return;
        ++attempts;
        (bool success,) = _target.call(_data);
        if (success) ++successes;
    }

    receive() external payable {
        attack();
    }
}
