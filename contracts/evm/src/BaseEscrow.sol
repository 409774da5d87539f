// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {ImmutablesLib} from "./libraries/ImmutablesLib.sol";
import {TimeLocksLib} from "./libraries/TimeLocksLib.sol";
import {Immutables} from "./Types.sol";

/// @title What both escrows share
/// @notice One escrow holds one amount of one token and one safety deposit, and pays each out once. It is a minimal
/// proxy whose address commits to its immutables: callers pass them, the escrow checks them, nothing is stored but
/// the state.
/// How it is stopped: by nobody. It has no owner, no pause and no upgrade; the factory's pause does not reach it.
abstract contract BaseEscrow is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using TimeLocksLib for uint256;

    /// @notice How an escrow stands. A closed escrow never opens again.
    enum State {
        Open,
        Withdrawn,
        Cancelled
    }

    /// @notice Factory whose clones trust this code.
    address public immutable factory;

    /// @notice This contract's own address, which its clones delegate to.
    address public immutable implementation;

    /// @notice Seconds after creation from which the taker may collect what does not belong to the escrow.
    uint32 public immutable rescueDelay;

    /// @notice Open until the tokens were paid out, to whichever side.
    State public state;

    /// @notice The tokens and the safety deposit were paid out against the secret.
    /// @param secret the 32 bytes behind the hashlock
    event EscrowWithdrawal(bytes32 secret);

    /// @notice The tokens went back to who locked them, the safety deposit to the caller.
    event EscrowCancelled();

    /// @notice The taker collected foreign or surplus funds.
    /// @param token the token, or zero for the native coin
    /// @param amount smallest unit
    event FundsRescued(address token, uint256 amount);

    /// @notice The immutables do not belong to this escrow.
    error InvalidImmutables();

    /// @notice The secret does not open the hashlock.
    error InvalidSecret();

    /// @notice Only the taker may do this now.
    error OnlyTaker(address caller, address taker);

    /// @notice The tokens were paid out already.
    error EscrowClosed();

    /// @notice The window of this action opens later (Unix seconds).
    error TooEarly(uint256 opensAt, uint256 time);

    /// @notice The window of this action is over (Unix seconds).
    error TooLate(uint256 closedAt, uint256 time);

    /// @notice The safety deposit could not be paid to the caller.
    error NativeTransferFailed(address to, uint256 amount);

    /// @notice A rescue would have touched the escrowed amount or the safety deposit.
    error RescueTouchesEscrow();

    /// @param rescueDelay_ seconds after creation from which `rescueFunds` is open
    constructor(uint32 rescueDelay_) {
        factory = msg.sender;
        implementation = address(this);
        rescueDelay = rescueDelay_;
    }

    modifier onlyValid(Immutables calldata immutables) {
        bytes32 salt = ImmutablesLib.hash(immutables);
        if (Clones.predictDeterministicAddress(implementation, salt, factory) != address(this)) {
            revert InvalidImmutables();
        }
        _;
    }

    modifier onlyTaker(Immutables calldata immutables) {
        if (msg.sender != immutables.taker) revert OnlyTaker(msg.sender, immutables.taker);
        _;
    }

    modifier onlyFrom(uint256 opensAt) {
        if (block.timestamp < opensAt) revert TooEarly(opensAt, block.timestamp);
        _;
    }

    modifier onlyBefore(uint256 closesAt) {
        if (block.timestamp >= closesAt) revert TooLate(closesAt, block.timestamp);
        _;
    }

    /// @notice Collects tokens or coins that do not belong to the escrow: sent by mistake, forced, or surplus. The
    /// taker only, from the rescue delay on; as long as the escrow is open, the escrowed amount and the safety deposit
    /// stay.
    /// How it is stopped: by nobody.
    /// @param token the token, or zero for the native coin
    /// @param amount smallest unit
    /// @param immutables the escrow's immutables
    function rescueFunds(address token, uint256 amount, Immutables calldata immutables)
        external
        nonReentrant
        onlyValid(immutables)
        onlyTaker(immutables)
        onlyFrom(immutables.timelocks.deployedAt() + rescueDelay)
    {
        if (token == address(0)) {
            _sendNative(msg.sender, amount);
        } else {
            IERC20(token).safeTransfer(msg.sender, amount);
        }
        // Checked afterwards and on balances, so that a token with a second address cannot be used to get around it.
        if (
            state == State.Open
                && (address(this).balance < immutables.safetyDeposit
                    || IERC20(immutables.token).balanceOf(address(this)) < immutables.amount)
        ) revert RescueTouchesEscrow();
        emit FundsRescued(token, amount);
    }

    function _withdraw(bytes32 secret, address to, Immutables calldata immutables) internal {
        if (keccak256(abi.encode(secret)) != immutables.hashlock) revert InvalidSecret();
        _close(State.Withdrawn);
        emit EscrowWithdrawal(secret);
        _payOut(to, immutables);
    }

    function _cancel(address to, Immutables calldata immutables) internal {
        _close(State.Cancelled);
        emit EscrowCancelled();
        _payOut(to, immutables);
    }

    function _close(State end) private {
        if (state != State.Open) revert EscrowClosed();
        state = end;
    }

    /// The tokens go to their rightful side whoever calls; the caller did the duty and gets the deposit.
    function _payOut(address to, Immutables calldata immutables) private {
        IERC20(immutables.token).safeTransfer(to, immutables.amount);
        _sendNative(msg.sender, immutables.safetyDeposit);
    }

    function _sendNative(address to, uint256 amount) private {
        if (amount == 0) return;
        (bool success,) = to.call{value: amount}("");
        if (!success) revert NativeTransferFailed(to, amount);
    }
}
