// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {BaseEscrow} from "../../src/BaseEscrow.sol";
import {DestinationEscrow} from "../../src/DestinationEscrow.sol";
import {SourceEscrow} from "../../src/SourceEscrow.sol";
import {SwapTest} from "../kit/SwapTest.sol";
import {vm} from "../kit/Vm.sol";

/// @notice Every row of the destination window table, at its first and last second, and whole swaps.
contract DestinationEscrowTest is SwapTest {
    uint256 private constant CREATED = START + 20;
    uint256 private constant W = CREATED + 12;
    uint256 private constant PW = CREATED + 100;
    uint256 private constant C = CREATED + 250;

    Source private source;
    Target private target;
    DestinationEscrow private escrow;

    function setUp() public override {
        super.setUp();
        source = _take(_order());
        vm.warp(CREATED);
        target = _answer(source);
        escrow = target.escrow;
    }

    function test_withdraw__takerWithTheSecretInTime__paysTheReceiver() public {
        uint256[2] memory times = [W, C - 1];
        for (uint256 i = 0; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            uint256 coins = taker.balance;
            vm.warp(times[i]);
            vm.expectEmit(true, true, true, true, address(escrow));
            emit BaseEscrow.EscrowWithdrawal(SECRET);
            vm.prank(taker);
            escrow.withdraw(SECRET, target.immutables);
            vm.assertEq(destinationToken.balanceOf(receiver), source.terms.amount, "tokens");
            vm.assertEq(taker.balance, coins + DESTINATION_DEPOSIT, "deposit");
            _stateIs(escrow, BaseEscrow.State.Withdrawn);
            vm.revertToState(snapshot);
        }
    }

    function test_publicWithdraw__anyoneWithTheSecretInTime__paysTheReceiver() public {
        uint256[2] memory times = [PW, C - 1];
        for (uint256 i = 0; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            vm.warp(times[i]);
            vm.prank(stranger);
            escrow.publicWithdraw(SECRET, target.immutables);
            vm.assertEq(destinationToken.balanceOf(receiver), source.terms.amount, "tokens");
            vm.assertEq(stranger.balance, 1 ether + DESTINATION_DEPOSIT, "deposit");
            vm.revertToState(snapshot);
        }
    }

    function test_cancel__takerAfterC__paysTheTaker() public {
        vm.warp(C);
        vm.expectEmit(true, true, true, true, address(escrow));
        emit BaseEscrow.EscrowCancelled();
        vm.prank(taker);
        escrow.cancel(target.immutables);
        vm.assertEq(destinationToken.balanceOf(taker), 10 * END_AMOUNT, "tokens");
        vm.assertEq(taker.balance, 10 ether - SOURCE_DEPOSIT, "deposit");
        _stateIs(escrow, BaseEscrow.State.Cancelled);
    }

    function test_destination__outsideItsWindow__everyActionIsRefused() public {
        _expectEarly(W, abi.encodeCall(DestinationEscrow.withdraw, (SECRET, target.immutables)));
        _expectEarly(PW, abi.encodeCall(DestinationEscrow.publicWithdraw, (SECRET, target.immutables)));
        _expectEarly(C, abi.encodeCall(DestinationEscrow.cancel, (target.immutables)));
        vm.warp(C);
        bytes memory late = abi.encodeWithSelector(BaseEscrow.TooLate.selector, C, C);
        _expectFailure(taker, abi.encodeCall(DestinationEscrow.withdraw, (SECRET, target.immutables)), late);
        _expectFailure(taker, abi.encodeCall(DestinationEscrow.publicWithdraw, (SECRET, target.immutables)), late);
    }

    function test_destination__notTheTaker__cannotUseTheTakersActions() public {
        address[3] memory others = [maker, receiver, stranger];
        for (uint256 i = 0; i < 3; ++i) {
            bytes memory refusal = abi.encodeWithSelector(BaseEscrow.OnlyTaker.selector, others[i], taker);
            vm.warp(W);
            _expectFailure(others[i], abi.encodeCall(DestinationEscrow.withdraw, (SECRET, target.immutables)), refusal);
            vm.warp(C);
            _expectFailure(others[i], abi.encodeCall(DestinationEscrow.cancel, (target.immutables)), refusal);
        }
    }

    function test_destination__publicCancellation__doesNotExist() public {
        vm.warp(C + 365 days);
        vm.prank(stranger);
        (bool success,) = address(escrow).call(abi.encodeCall(SourceEscrow.publicCancel, (target.immutables)));
        vm.assertFalse(success, "nobody but the taker cancels on the destination");
        vm.assertEq(destinationToken.balanceOf(address(escrow)), source.terms.amount, "the tokens wait for the taker");
    }

    function test_destination__wrongSecret__isRefused() public {
        vm.warp(PW);
        bytes memory refusal = abi.encodeWithSelector(BaseEscrow.InvalidSecret.selector);
        _expectFailure(taker, abi.encodeCall(DestinationEscrow.withdraw, (WRONG_SECRET, target.immutables)), refusal);
        _expectFailure(
            stranger, abi.encodeCall(DestinationEscrow.publicWithdraw, (WRONG_SECRET, target.immutables)), refusal
        );
    }

    function test_destination__immutablesOfTheSource__areRefused() public {
        vm.warp(W);
        bytes memory refusal = abi.encodeWithSelector(BaseEscrow.InvalidImmutables.selector);
        _expectFailure(taker, abi.encodeCall(DestinationEscrow.withdraw, (SECRET, source.immutables)), refusal);
    }

    function test_destination__closed__nothingIsPaidTwice() public {
        destinationToken.mint(address(escrow), source.terms.amount);
        vm.deal(address(escrow), 1 ether);
        vm.warp(PW);
        vm.prank(stranger);
        escrow.publicWithdraw(SECRET, target.immutables);
        bytes memory refusal = abi.encodeWithSelector(BaseEscrow.EscrowClosed.selector);
        _expectFailure(taker, abi.encodeCall(DestinationEscrow.withdraw, (SECRET, target.immutables)), refusal);
        vm.warp(C);
        _expectFailure(taker, abi.encodeCall(DestinationEscrow.cancel, (target.immutables)), refusal);
    }

    function test_swap__everybodyActsInTime__eachSideHasTheOthersTokens() public {
        vm.warp(W);
        vm.prank(taker);
        escrow.withdraw(SECRET, target.immutables);
        vm.prank(taker);
        source.escrow.withdraw(SECRET, source.immutables);
        vm.assertEq(destinationToken.balanceOf(receiver), source.terms.amount, "the maker's side");
        vm.assertEq(sourceToken.balanceOf(taker), SOURCE_AMOUNT, "the taker's side");
        vm.assertEq(taker.balance, 10 ether, "both deposits are back");
    }

    function test_swap__secretNeverReleased__bothSidesAreWhole() public {
        vm.warp(START + 420);
        vm.prank(taker);
        escrow.cancel(target.immutables);
        vm.prank(stranger);
        source.escrow.publicCancel(source.immutables);
        vm.assertEq(sourceToken.balanceOf(maker), 10 * SOURCE_AMOUNT, "the maker is whole");
        vm.assertEq(destinationToken.balanceOf(taker), 10 * END_AMOUNT, "the taker is whole");
        vm.assertEq(stranger.balance, 1 ether + SOURCE_DEPOSIT, "the idle taker's deposit is forfeited");
    }

    /// A loss that the rules list: whoever learns the secret but lets its own window pass is stranded.
    function test_regression_secretRevealedTooLate__strandsTheIdleTakerOnly() public {
        vm.warp(C - 1);
        vm.prank(stranger);
        escrow.publicWithdraw(SECRET, target.immutables);
        vm.warp(START + 300);
        vm.prank(taker);
        (bool success,) =
            address(source.escrow).call(abi.encodeCall(SourceEscrow.withdraw, (SECRET, source.immutables)));
        vm.assertFalse(success, "the source window is over");
        vm.warp(START + 420);
        vm.prank(stranger);
        source.escrow.publicCancel(source.immutables);
        vm.assertEq(sourceToken.balanceOf(maker), 10 * SOURCE_AMOUNT, "the maker has the source tokens back");
        vm.assertEq(destinationToken.balanceOf(receiver), source.terms.amount, "and was paid");
    }

    function _expectEarly(uint256 opensAt, bytes memory data) private {
        vm.warp(opensAt - 1);
        _expectFailure(taker, data, abi.encodeWithSelector(BaseEscrow.TooEarly.selector, opensAt, opensAt - 1));
    }

    function _expectFailure(address caller, bytes memory data, bytes memory expected) private {
        vm.prank(caller);
        (bool success, bytes memory answer) = address(escrow).call(data);
        vm.assertFalse(success, "refused");
        vm.assertEq(answer, expected, "for that reason");
    }
}
