// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {BaseEscrow} from "../../src/BaseEscrow.sol";
import {DestinationEscrow} from "../../src/DestinationEscrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {SourceEscrow} from "../../src/SourceEscrow.sol";
import {Order} from "../../src/Types.sol";
import {SwapTest} from "../kit/SwapTest.sol";
import {vm} from "../kit/Vm.sol";

/// @notice One swap each, with any numbers and at any times. Whole sequences are in test/invariant.
contract SwapFuzzTest is SwapTest {
    function testFuzz_createSource__anyNumbers__locksThemExactly(
        uint256 amount,
        uint256 endAmount,
        uint96 deposit,
        uint256 nonce,
        uint256 delay
    ) public {
        amount = _bound(amount, 1, 10 * SOURCE_AMOUNT);
        endAmount = _bound(endAmount, 1, type(uint256).max / 2);
        vm.deal(taker, deposit);
        Order memory order = _order();
        order.sourceAmount = amount;
        order.price.endAmount = endAmount;
        order.deposits.source = deposit;
        order.nonce = nonce;
        vm.warp(_bound(delay, START, order.expiry - 1));
        Source memory source = _take(order);
        vm.assertEq(sourceToken.balanceOf(address(source.escrow)), amount, "tokens");
        vm.assertEq(sourceToken.balanceOf(maker), 10 * SOURCE_AMOUNT - amount, "the rest stayed");
        vm.assertEq(address(source.escrow).balance, deposit, "deposit");
        vm.assertTrue(sourceFactory.isNonceUsed(maker, nonce), "nonce");
        vm.assertGe(source.terms.amount, endAmount, "never less than the end amount");
    }

    function testFuzz_createSource__anyBitOfTheSignatureFlipped__isRefused(uint256 bit) public {
        Order memory order = _order();
        bytes memory signature = _sign(order, MAKER_KEY);
        bit = _bound(bit, 0, 65 * 8 - 1);
        signature[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        _expectRefusal(order, signature, abi.encodeWithSelector(EscrowFactory.InvalidSignature.selector));
    }

    function testFuzz_escrow__anySecret__opensOnlyItsOwnHashlock(bytes32 guess) public {
        vm.assume(guess != SECRET);
        Source memory source = _take(_order());
        vm.warp(START + 10);
        vm.expectRevert(BaseEscrow.InvalidSecret.selector);
        vm.prank(taker);
        source.escrow.withdraw(guess, source.immutables);
    }

    /// A maker that gives its secret to the world at the worst moment. The taker is whole if it acts before its source
    /// window closes; it loses only if that moment had passed on the source chain's own clock.
    function testFuzz_hostileMaker__forcedLateReveal__hurtsOnlyATakerThatIsTooLate(
        uint256 revealedAt,
        uint256 sourceAhead,
        uint256 reaction
    ) public {
        Source memory source = _take(_order());
        vm.warp(START + 20);
        Target memory target = _answer(source);

        revealedAt = _bound(revealedAt, START + 20 + 100, START + 20 + 250 - 1);
        vm.warp(revealedAt);
        vm.prank(maker);
        target.escrow.publicWithdraw(SECRET, target.immutables);
        vm.assertEq(destinationToken.balanceOf(receiver), source.terms.amount, "the maker was paid");

        uint256 actedAt = revealedAt + _bound(sourceAhead, 0, 60) + _bound(reaction, 0, 60);
        vm.warp(actedAt);
        vm.prank(taker);
        (bool success,) =
            address(source.escrow).call(abi.encodeCall(SourceEscrow.withdraw, (SECRET, source.immutables)));
        vm.assertTrue(success == (actedAt < START + 300), "in time or too late");
        vm.warp(START + 420);
        if (!success) {
            vm.prank(stranger);
            source.escrow.publicCancel(source.immutables);
        }
        uint256 makerHas = sourceToken.balanceOf(maker);
        vm.assertEq(makerHas + sourceToken.balanceOf(taker), 10 * SOURCE_AMOUNT, "exactly one side");
        vm.assertTrue(makerHas == (success ? 9 : 10) * SOURCE_AMOUNT, "the rightful one");
    }

    /// A taker that got the secret and takes the source at once, hoping to cancel the destination: anybody pays the
    /// maker from the public withdrawal on.
    function testFuzz_hostileTaker__withholdsTheDestination__anybodyPaysTheMaker(uint256 takenAt, uint256 paidAt)
        public
    {
        Source memory source = _take(_order());
        Target memory target = _answer(source);
        vm.warp(_bound(takenAt, START + 10, START + 99));
        vm.prank(taker);
        source.escrow.withdraw(SECRET, source.immutables);
        vm.prank(taker);
        (bool cancelled,) = address(target.escrow).call(abi.encodeCall(DestinationEscrow.cancel, (target.immutables)));
        vm.assertFalse(cancelled, "not before the cancellation window");
        vm.warp(_bound(paidAt, START + 100, START + 249));
        vm.prank(stranger);
        target.escrow.publicWithdraw(SECRET, target.immutables);
        vm.assertEq(destinationToken.balanceOf(receiver), source.terms.amount, "the maker was paid");
        vm.assertEq(stranger.balance, 1 ether + DESTINATION_DEPOSIT, "and the helper rewarded");
    }

    function testFuzz_createDestination__anyTime__neverOutlivesTheSource(uint256 createdAt) public {
        Source memory source = _take(_order());
        createdAt = _bound(createdAt, START, START + 600);
        vm.warp(createdAt);
        vm.deal(taker, 1 ether);
        vm.prank(taker);
        (bool success,) = address(destinationFactory).call{value: DESTINATION_DEPOSIT}(
            abi.encodeCall(EscrowFactory.createDestination, (_matching(source), _sourceCancellationAt(source)))
        );
        vm.assertTrue(success == (createdAt + 250 <= START + 300), "destination cancels first");
    }
}
