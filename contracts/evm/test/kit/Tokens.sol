// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {DemoToken} from "../../src/DemoToken.sol";

/// @notice A token whose transfers answer `false` instead of failing.
contract FalseToken is DemoToken {
    bool public refuses;

    constructor() DemoToken("False", "FALSE", 18) {}

    function refuse(bool value) external {
        refuses = value;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return !refuses && super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return !refuses && super.transferFrom(from, to, value);
    }
}

/// @notice A token of the old kind: transfers answer nothing, and it knows no permit.
contract SilentToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    function mint(address account, uint256 amount) external {
        balanceOf[account] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @notice A token that tells its receivers and senders about transfers before they happen (as ERC-777 does).
contract HookToken is DemoToken {
    address private _listener;
    bytes private _call;
    uint256 public attempts;
    bytes public lastAnswer;

    constructor() DemoToken("Hook", "HOOK", 18) {}

    function listen(address listener, bytes calldata data) external {
        _listener = listener;
        _call = data;
    }

    function _update(address from, address to, uint256 value) internal override {
        address listener = _listener;
        if (listener != address(0)) {
            _listener = address(0);
            ++attempts;
            (bool success, bytes memory answer) = listener.call(_call);
            lastAnswer = success ? bytes("succeeded") : answer;
        }
        super._update(from, to, value);
    }
}

/// @notice A second address of another token: what it moves are the other one's balances.
contract SecondAddress {
    TwoAddressToken private immutable _token;

    constructor(TwoAddressToken token) {
        _token = token;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        _token.move(msg.sender, to, amount);
        return true;
    }
}

/// @notice A token that can be reached through a second address.
contract TwoAddressToken is DemoToken {
    address public immutable secondAddress = address(new SecondAddress(this));

    constructor() DemoToken("Two", "TWO", 18) {}

    function move(address from, address to, uint256 amount) external {
        require(msg.sender == secondAddress, "second address only");
        _transfer(from, to, amount);
    }
}

/// @notice A token that delivers more than was sent.
contract GenerousToken is DemoToken {
    constructor() DemoToken("Generous", "GEN", 18) {}

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from != address(0)) super._update(address(0), to, 1);
    }
}
