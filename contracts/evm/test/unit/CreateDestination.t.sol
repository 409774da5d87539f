// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {BaseEscrow} from "../../src/BaseEscrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {Immutables} from "../../src/Types.sol";
import {SwapTest} from "../kit/SwapTest.sol";
import {vm} from "../kit/Vm.sol";

/// @notice Answering an order on the destination chain: what is locked, and everything that must be refused.
contract CreateDestinationTest is SwapTest {
    function test_createDestination__matchingTerms__locksExactlyTheTerms() public {
        Source memory source = _take(_order());
        vm.warp(START + 7);
        Target memory target = _answer(source);
        vm.assertEq(destinationToken.balanceOf(address(target.escrow)), source.terms.amount, "escrowed tokens");
        vm.assertEq(address(target.escrow).balance, DESTINATION_DEPOSIT, "safety deposit");
        vm.assertEq(destinationToken.balanceOf(address(destinationFactory)), 0, "the factory holds no tokens");
        vm.assertEq(target.immutables.timelocks >> 224, START + 7, "creation time is this chain's");
        vm.assertEq(
            target.immutables.timelocks << 32, source.immutables.timelocks << 32, "the signed stages are untouched"
        );
        vm.assertEq(
            destinationFactory.destinationEscrowAddress(target.immutables), address(target.escrow), "predicted address"
        );
        _stateIs(target.escrow, BaseEscrow.State.Open);
    }

    function test_createDestination__claimedCreationTime__isReplaced() public {
        Immutables memory immutables = _matching(_take(_order()));
        immutables.timelocks |= uint256(type(uint32).max) << 224;
        Target memory target = _lock(immutables, type(uint64).max);
        vm.assertEq(target.immutables.timelocks >> 224, START, "creation time");
    }

    function test_createDestination__makerOrAnyoneNamedAsTaker__cannotBeCharged() public {
        Immutables memory immutables = _matching(_take(_order()));
        // The other taker approved the factory; that alone must not let anybody lock its tokens.
        immutables.taker = otherTaker;
        vm.expectRevert(abi.encodeWithSelector(EscrowFactory.OnlyTaker.selector, taker, otherTaker));
        vm.prank(taker);
        destinationFactory.createDestination{value: immutables.safetyDeposit}(immutables, type(uint64).max);
        vm.assertEq(destinationToken.balanceOf(otherTaker), 10 * END_AMOUNT, "untouched");
    }

    function test_createDestination__cancellationAfterTheSources__isRefused() public {
        Source memory source = _take(_order());
        uint64 sourceCancellationAt = _sourceCancellationAt(source);
        Immutables memory immutables = _matching(source);
        vm.warp(START + 51);
        _expectRefusal(
            immutables,
            sourceCancellationAt,
            abi.encodeWithSelector(EscrowFactory.DestinationCancelsTooLate.selector, START + 301, START + 300)
        );
        vm.warp(START + 50);
        _lock(immutables, sourceCancellationAt);
    }

    function test_createDestination__depositNotExact__isRefused() public {
        Immutables memory immutables = _matching(_take(_order()));
        for (uint256 i = 0; i < 2; ++i) {
            uint256 sent = i == 0 ? DESTINATION_DEPOSIT - 1 : DESTINATION_DEPOSIT + 1;
            vm.expectRevert(
                abi.encodeWithSelector(EscrowFactory.InvalidSafetyDeposit.selector, sent, DESTINATION_DEPOSIT)
            );
            vm.prank(taker);
            destinationFactory.createDestination{value: sent}(immutables, type(uint64).max);
        }
    }

    function test_createDestination__brokenImmutables__isRefused() public {
        Immutables memory good = _matching(_take(_order()));
        Immutables memory bad = abi.decode(abi.encode(good), (Immutables));
        bad.hashlock = bytes32(0);
        _expectRefusal(bad, type(uint64).max, abi.encodeWithSelector(EscrowFactory.InvalidHashlock.selector));
        bad = abi.decode(abi.encode(good), (Immutables));
        bad.maker = address(0);
        _expectRefusal(bad, type(uint64).max, abi.encodeWithSelector(EscrowFactory.InvalidReceiver.selector));
        bad = abi.decode(abi.encode(good), (Immutables));
        bad.amount = 0;
        _expectRefusal(bad, type(uint64).max, abi.encodeWithSelector(EscrowFactory.InvalidAmount.selector));
        bad = abi.decode(abi.encode(good), (Immutables));
        bad.parameters = "";
        _expectRefusal(bad, type(uint64).max, abi.encodeWithSelector(EscrowFactory.InvalidParameters.selector));
        bad.parameters = abi.encode(uint256(1), uint256(0), address(0), address(0));
        _expectRefusal(bad, type(uint64).max, abi.encodeWithSelector(EscrowFactory.InvalidParameters.selector));
    }

    function test_createDestination__windowTooShortOrOutOfOrder__isRefused() public {
        Immutables memory good = _matching(_take(_order()));
        uint256[3] memory shifts = [uint256(128), 160, 192];
        uint256[3] memory values = [uint256(MINIMUM_WINDOW - 1), 12 + MINIMUM_WINDOW - 1, 100 + MINIMUM_WINDOW - 1];
        for (uint256 i = 0; i < 3; ++i) {
            Immutables memory bad = abi.decode(abi.encode(good), (Immutables));
            bad.timelocks = (good.timelocks & ~(uint256(type(uint32).max) << shifts[i])) | (values[i] << shifts[i]);
            _expectRefusal(bad, type(uint64).max, abi.encodeWithSelector(EscrowFactory.InvalidTimeLocks.selector));
        }
    }

    function test_createDestination__sameTwiceInOneBlock__isRefused() public {
        Source memory source = _take(_order());
        Target memory target = _answer(source);
        _expectRefusal(
            _matching(source),
            type(uint64).max,
            abi.encodeWithSelector(EscrowFactory.EscrowAlreadyExists.selector, target.escrow)
        );
    }

    function test_createDestination__withoutAllowance__isRefused() public {
        Immutables memory immutables = _matching(_take(_order()));
        vm.prank(taker);
        destinationToken.approve(address(destinationFactory), immutables.amount - 1);
        vm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)")));
        vm.prank(taker);
        destinationFactory.createDestination{value: immutables.safetyDeposit}(immutables, type(uint64).max);
    }

    function test_createDestination__strangerCopiesTheOrderHash__hasItsOwnEscrow() public {
        Source memory source = _take(_order());
        Target memory target = _answer(source);
        _fundTaker(stranger);
        Immutables memory copy = _matching(source);
        copy.taker = stranger;
        copy.amount = 1;
        Target memory forged = _lock(copy, type(uint64).max);
        vm.assertTrue(address(forged.escrow) != address(target.escrow), "another address");
        vm.assertEq(destinationToken.balanceOf(address(target.escrow)), source.terms.amount, "untouched");
    }

    function _expectRefusal(Immutables memory immutables, uint64 sourceCancellationAt, bytes memory expected) private {
        uint256 before = destinationToken.balanceOf(taker);
        vm.expectRevert(expected);
        vm.prank(taker);
        destinationFactory.createDestination{value: immutables.safetyDeposit}(immutables, sourceCancellationAt);
        vm.assertEq(destinationToken.balanceOf(taker), before, "nothing moved");
    }
}
