// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {Immutables, Order} from "../../src/Types.sol";
import {SwapTest} from "../kit/SwapTest.sol";
import {vm} from "../kit/Vm.sol";

/// @notice The owner's only power: stopping new locks, never exits.
contract PauseTest is SwapTest {
    function test_pause__newLocks__areRefusedOnBothSides() public {
        Source memory source = _take(_order());
        _pauseBoth();
        Order memory order = _order();
        order.nonce += 1;
        order.hashlockInfo = keccak256(abi.encode(WRONG_SECRET));
        _expectRefusal(order, abi.encodeWithSelector(bytes4(keccak256("EnforcedPause()"))));
        Immutables memory immutables = _matching(source);
        vm.expectRevert(bytes4(keccak256("EnforcedPause()")));
        vm.prank(taker);
        destinationFactory.createDestination{value: immutables.safetyDeposit}(immutables, type(uint64).max);

        vm.prank(owner);
        sourceFactory.unpause();
        _take(order);
    }

    function test_pause__withdrawals__goOn() public {
        Source memory source = _take(_order());
        Target memory target = _answer(source);
        _pauseBoth();
        vm.warp(START + 120);
        vm.prank(stranger);
        target.escrow.publicWithdraw(SECRET, target.immutables);
        vm.prank(taker);
        source.escrow.withdraw(SECRET, source.immutables);
        vm.assertEq(destinationToken.balanceOf(receiver), source.terms.amount, "the maker's side");
        vm.assertEq(sourceToken.balanceOf(taker), SOURCE_AMOUNT, "the taker's side");
    }

    function test_pause__cancellationsAndRescue__goOn() public {
        Source memory source = _take(_order());
        Target memory target = _answer(source);
        _pauseBoth();
        vm.warp(START + RESCUE_DELAY);
        vm.prank(taker);
        target.escrow.cancel(target.immutables);
        vm.prank(stranger);
        source.escrow.publicCancel(source.immutables);
        sourceToken.mint(address(source.escrow), 1);
        vm.prank(taker);
        source.escrow.rescueFunds(address(sourceToken), 1, source.immutables);
        vm.assertEq(sourceToken.balanceOf(maker), 10 * SOURCE_AMOUNT, "the maker is whole");
        vm.assertEq(destinationToken.balanceOf(taker), 10 * END_AMOUNT, "the taker is whole");
    }

    function test_pause__invalidatingANonce__goesOn() public {
        _pauseBoth();
        vm.prank(maker);
        sourceFactory.invalidateNonce(7);
        vm.assertTrue(sourceFactory.isNonceUsed(maker, 7), "used");
    }

    function test_pause__notTheOwner__isRefused() public {
        bytes memory refusal =
            abi.encodeWithSelector(bytes4(keccak256("OwnableUnauthorizedAccount(address)")), stranger);
        vm.expectRevert(refusal);
        vm.prank(stranger);
        sourceFactory.pause();
        vm.expectRevert(refusal);
        vm.prank(stranger);
        sourceFactory.unpause();
    }

    function test_ownership__movesInTwoSteps() public {
        vm.prank(owner);
        sourceFactory.transferOwnership(otherTaker);
        vm.assertEq(sourceFactory.owner(), owner, "not before it is accepted");
        vm.prank(otherTaker);
        sourceFactory.acceptOwnership();
        vm.assertEq(sourceFactory.owner(), otherTaker, "accepted");
    }

    function test_factory__withoutASmallestWindow__cannotBeCreated() public {
        vm.expectRevert(EscrowFactory.InvalidMinimumWindow.selector);
        new EscrowFactory(owner, 0, RESCUE_DELAY);
    }

    function _pauseBoth() private {
        vm.startPrank(owner);
        sourceFactory.pause();
        destinationFactory.pause();
        vm.stopPrank();
    }
}
