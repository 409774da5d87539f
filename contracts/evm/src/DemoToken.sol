// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title Token for demonstrations and tests
/// @notice ERC-20 with permit (EIP-2612) whose owner mints as much as it likes: worth nothing by construction.
/// How it is stopped: transfers cannot be stopped by anyone; minting ends when the owner renounces ownership.
contract DemoToken is ERC20, ERC20Permit, Ownable {
    uint8 private immutable _decimals;

    /// @notice Creates a token without supply; the deployer owns it.
    /// @param name_ name, also of the EIP-712 domain of permits (version "1")
    /// @param symbol_ ticker
    /// @param decimals_ places of the display unit
    constructor(string memory name_, string memory symbol_, uint8 decimals_)
        ERC20(name_, symbol_)
        ERC20Permit(name_)
        Ownable(msg.sender)
    {
        _decimals = decimals_;
    }

    /// @notice Places of the display unit.
    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    /// @notice Creates tokens. The owner only.
    /// @param account who receives them
    /// @param amount smallest unit
    function mint(address account, uint256 amount) external onlyOwner {
        _mint(account, amount);
    }
}
