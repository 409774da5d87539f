// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {BaseEscrow} from "../../src/BaseEscrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {Order} from "../../src/Types.sol";
import {SwapTest} from "../kit/SwapTest.sol";
import {vm} from "../kit/Vm.sol";
import {GreedyWallet, Wallet1271} from "../kit/Wallets.sol";

/// @notice Taking an order: what is locked, and everything that must be refused.
contract CreateSourceTest is SwapTest {
    function test_createSource__signedOrder__locksExactlyTheSignedAmount() public {
        Order memory order = _order();
        Source memory source = _take(order);

        vm.assertEq(sourceToken.balanceOf(address(source.escrow)), SOURCE_AMOUNT, "escrowed tokens");
        vm.assertEq(address(source.escrow).balance, SOURCE_DEPOSIT, "safety deposit");
        vm.assertEq(sourceToken.balanceOf(address(sourceFactory)), 0, "the factory holds no tokens");
        vm.assertEq(address(sourceFactory).balance, 0, "the factory holds no coins");
        vm.assertEq(source.immutables.orderHash, sourceFactory.hashOrder(order), "order hash");
        vm.assertEq(source.immutables.hashlock, order.hashlockInfo, "hashlock");
        vm.assertEq(source.immutables.maker, maker, "maker");
        vm.assertEq(source.immutables.taker, taker, "taker");
        vm.assertEq(source.immutables.token, address(sourceToken), "token");
        vm.assertEq(source.immutables.amount, SOURCE_AMOUNT, "amount");
        vm.assertEq(source.immutables.safetyDeposit, SOURCE_DEPOSIT, "deposit in the immutables");
        vm.assertEq(
            bytes32(source.immutables.timelocks),
            0x6553f100000000fa000000640000000c000001a40000012c000000780000000a,
            "time locks"
        );
        vm.assertEq(source.immutables.parameters, new bytes(128), "no fees");
        vm.assertEq(source.fillIndex, 0, "fill index");
        vm.assertEq(
            sourceFactory.escrowOf(source.immutables.orderHash, 0), address(source.escrow), "escrow of the fill"
        );
        vm.assertEq(sourceFactory.sourceEscrowAddress(source.immutables), address(source.escrow), "predicted address");
        _stateIs(source.escrow, BaseEscrow.State.Open);
    }

    function test_createSource__signedOrder__announcesTheDestinationTerms() public {
        Order memory order = _order();
        vm.warp(START + 100);
        Source memory source = _take(order);
        vm.assertEq(source.terms.chain, order.destination.chain, "chain");
        vm.assertEq(source.terms.factory, order.destination.factory, "factory");
        vm.assertEq(source.terms.token, order.destination.token, "token");
        vm.assertEq(source.terms.receiver, order.destination.receiver, "receiver");
        vm.assertEq(source.terms.safetyDeposit, DESTINATION_DEPOSIT, "deposit");
        // Bump 183333 at 100 s: 1,000,000,000 · 1.0183333.
        vm.assertEq(source.terms.amount, 1_018_333_300, "the price is the one of the block");
        vm.assertEq(source.terms.amount, sourceFactory.destinationAmountAt(order.price, START + 100), "price view");
    }

    function test_createSource__moreThanTheLeastDeposit__allOfItIsTheDeposit() public {
        Order memory order = _order();
        bytes memory signature = _sign(order, MAKER_KEY);
        vm.prank(taker);
        address escrow = sourceFactory.createSource{value: 3 * SOURCE_DEPOSIT}(order, signature, "");
        vm.assertEq(escrow.balance, 3 * SOURCE_DEPOSIT, "deposit");
    }

    function test_createSource__approvalWithoutSignature__movesNothing() public {
        Order memory order = _order();
        bytes memory refusal = abi.encodeWithSelector(EscrowFactory.InvalidSignature.selector);
        _expectRefusal(order, "", refusal);
        _expectRefusal(order, new bytes(65), refusal);
        _expectRefusal(order, _sign(order, STRANGER_KEY), refusal);
    }

    function test_createSource__anyMemberChangedAfterSigning__isRefused() public {
        bytes memory signature = _sign(_order(), MAKER_KEY);
        for (uint256 member = 0; member < 22; ++member) {
            Order memory changed = _changed(member);
            bytes32 hash = sourceFactory.hashOrder(changed);
            vm.assertTrue(hash != sourceFactory.hashOrder(_order()), vm.toString(member));
            _expectRefusal(changed, signature, abi.encodeWithSelector(EscrowFactory.InvalidSignature.selector));
        }
    }

    /// Each change keeps the order valid in everything but its signature.
    function _changed(uint256 member) private view returns (Order memory order) {
        order = _order();
        if (member == 0) order.maker = stranger;
        if (member == 1) order.sourceToken = address(destinationToken);
        if (member == 2) order.sourceAmount += 1;
        if (member == 3) order.destination.chain = "eip155:1";
        if (member == 4) order.destination.factory = abi.encodePacked(stranger);
        if (member == 5) order.destination.token = abi.encodePacked(stranger);
        if (member == 6) order.destination.receiver = abi.encodePacked(taker);
        if (member == 7) order.price.startTime -= 1;
        if (member == 8) order.price.duration -= 1;
        if (member == 9) order.price.endAmount -= 1;
        if (member == 10) order.price.initialRateBump = 0;
        if (member == 11) order.price.points[1].rateBump = 0;
        if (member == 12) order.price.points[0].delay = 0;
        if (member == 13) order.deposits.source -= 1;
        if (member == 14) order.deposits.destination = 0;
        if (member == 15) order.timeLocks.sourceWithdrawal += 1;
        if (member == 16) order.timeLocks.sourceCancellation += 1;
        if (member == 17) order.timeLocks.destinationCancellation += 1;
        if (member == 18) order.hashlockInfo = keccak256(abi.encode(WRONG_SECRET));
        if (member == 19) order.allowedTakers = _only(taker);
        if (member == 20) order.nonce += 1;
        if (member == 21) order.expiry += 1;
    }

    function test_createSource__malleatedSignature__isRefused() public {
        Order memory order = _order();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(MAKER_KEY, sourceFactory.hashOrder(order));
        uint256 curveOrder = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        bytes memory malleated = abi.encodePacked(r, bytes32(curveOrder - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        bytes memory refusal = abi.encodeWithSelector(EscrowFactory.InvalidSignature.selector);
        _expectRefusal(order, malleated, refusal);
        // The compact form and a recovery bit of 0 or 1 are other encodings of the same signature.
        _expectRefusal(order, abi.encodePacked(r, uint256(s) | (uint256(v - 27) << 255)), refusal);
        _expectRefusal(order, abi.encodePacked(r, s, v - 27), refusal);
        _expectRefusal(order, abi.encodePacked(r, s, v, uint8(0)), refusal);
        _takeAs(taker, order, abi.encodePacked(r, s, v), "");
    }

    function test_createSource__signedForAnotherFactoryOrChain__isRefused() public {
        Order memory order = _order();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(MAKER_KEY, destinationFactory.hashOrder(order));
        _expectRefusal(
            order, abi.encodePacked(r, s, v), abi.encodeWithSelector(EscrowFactory.InvalidSignature.selector)
        );

        bytes memory signature = _sign(order, MAKER_KEY);
        vm.chainId(999);
        _expectRefusal(order, signature, abi.encodeWithSelector(EscrowFactory.InvalidSignature.selector));
    }

    function test_createSource__contractMaker__isAskedByEip1271() public {
        Wallet1271 wallet = new Wallet1271(maker);
        sourceToken.mint(address(wallet), SOURCE_AMOUNT);
        wallet.approve(sourceToken, address(sourceFactory));
        Order memory order = _order();
        order.maker = address(wallet);
        _expectRefusal(
            order, _sign(order, STRANGER_KEY), abi.encodeWithSelector(EscrowFactory.InvalidSignature.selector)
        );
        Source memory source = _take(order);
        vm.assertEq(source.immutables.maker, address(wallet), "maker");
        vm.assertEq(sourceToken.balanceOf(address(wallet)), 0, "the wallet's tokens are locked");
    }

    function test_createSource__contractMakerThatAnswersGarbage__isRefused() public {
        Order memory order = _order();
        for (uint256 mode = 0; mode < 4; ++mode) {
            order.maker = address(new GreedyWallet(mode));
            _expectRefusal(order, "", abi.encodeWithSelector(EscrowFactory.InvalidSignature.selector));
        }
    }

    function test_createSource__beforeTheStart__isRefused() public {
        Order memory order = _order();
        vm.warp(START - 1);
        _expectRefusal(order, abi.encodeWithSelector(EscrowFactory.OrderNotStarted.selector, START, START - 1));
        vm.warp(START);
        _take(order);
    }

    function test_createSource__atExpiry__isRefused() public {
        Order memory order = _order();
        vm.warp(order.expiry);
        _expectRefusal(order, abi.encodeWithSelector(EscrowFactory.OrderExpired.selector, order.expiry, order.expiry));
        vm.warp(order.expiry - 1);
        Source memory source = _take(order);
        vm.assertEq(source.terms.amount, END_AMOUNT, "the auction is over: end amount");
    }

    function test_createSource__takerNotOnTheList__isRefused() public {
        Order memory order = _order();
        order.allowedTakers = _only(otherTaker);
        _expectRefusal(order, abi.encodeWithSelector(EscrowFactory.TakerNotAllowed.selector, taker));
        order.allowedTakers = new address[](2);
        order.allowedTakers[0] = otherTaker;
        order.allowedTakers[1] = taker;
        _take(order);
    }

    function test_createSource__sameOrderAgain__isRefused() public {
        Order memory order = _order();
        Source memory source = _take(order);
        vm.warp(START + 1);
        _expectRefusal(
            order, abi.encodeWithSelector(EscrowFactory.FillAlreadyUsed.selector, source.immutables.orderHash, 0)
        );
    }

    function test_createSource__sameOrderAfterCancellation__staysConsumed() public {
        Order memory order = _order();
        Source memory source = _take(order);
        vm.warp(START + 300);
        vm.prank(taker);
        source.escrow.cancel(source.immutables);
        _expectRefusal(
            order, abi.encodeWithSelector(EscrowFactory.FillAlreadyUsed.selector, source.immutables.orderHash, 0)
        );
        vm.assertEq(sourceToken.balanceOf(maker), 10 * SOURCE_AMOUNT, "the maker has everything back");
    }

    function test_createSource__hashlockUsedByThisMaker__isRefused() public {
        Order memory order = _order();
        _take(order);
        order.nonce += 1;
        _expectRefusal(
            order, abi.encodeWithSelector(EscrowFactory.HashlockAlreadyUsed.selector, maker, order.hashlockInfo)
        );
        vm.assertTrue(sourceFactory.isHashlockUsed(maker, order.hashlockInfo), "used");
    }

    function test_createSource__hashlockUsedByAnotherMaker__isNoObstacle() public {
        sourceToken.mint(stranger, SOURCE_AMOUNT);
        vm.prank(stranger);
        sourceToken.approve(address(sourceFactory), SOURCE_AMOUNT);
        Order memory copy = _order();
        copy.maker = stranger;
        _takeAs(taker, copy, _sign(copy, STRANGER_KEY), "");
        _take(_order());
    }

    function test_createSource__nonceUsedByAnotherOrder__isRefused() public {
        Order memory order = _order();
        _take(order);
        order.hashlockInfo = keccak256(abi.encode(WRONG_SECRET));
        _expectRefusal(order, abi.encodeWithSelector(EscrowFactory.NonceAlreadyUsed.selector, maker, order.nonce));
    }

    function test_invalidateNonce__byTheMaker__endsTheOrder() public {
        Order memory order = _order();
        vm.expectEmit(true, true, true, true, address(sourceFactory));
        emit EscrowFactory.NonceInvalidated(maker, order.nonce);
        vm.prank(maker);
        sourceFactory.invalidateNonce(order.nonce);
        vm.assertTrue(sourceFactory.isNonceUsed(maker, order.nonce), "used");
        vm.assertFalse(sourceFactory.isNonceUsed(maker, order.nonce + 1), "only this one");
        vm.assertFalse(sourceFactory.isNonceUsed(stranger, order.nonce), "only this maker's");
        _expectRefusal(order, abi.encodeWithSelector(EscrowFactory.NonceAlreadyUsed.selector, maker, order.nonce));
    }

    function test_invalidateNonce__byAStranger__changesNothing() public {
        vm.prank(stranger);
        sourceFactory.invalidateNonce(7);
        _take(_order());
    }

    function test_invalidateNonce__afterTheFill__saysThatTheFillCameFirst() public {
        Order memory order = _order();
        _take(order);
        vm.expectRevert(abi.encodeWithSelector(EscrowFactory.NonceAlreadyUsed.selector, maker, order.nonce));
        vm.prank(maker);
        sourceFactory.invalidateNonce(order.nonce);
    }

    function test_createSource__depositTooSmall__isRefused() public {
        Order memory order = _order();
        bytes memory signature = _sign(order, MAKER_KEY);
        vm.expectRevert(
            abi.encodeWithSelector(EscrowFactory.InvalidSafetyDeposit.selector, SOURCE_DEPOSIT - 1, SOURCE_DEPOSIT)
        );
        vm.prank(taker);
        sourceFactory.createSource{value: SOURCE_DEPOSIT - 1}(order, signature, "");
    }

    function test_createSource__unknownExtension__isRefused() public {
        Order memory order = _order();
        order.extensionHash = bytes32(uint256(1));
        _expectRefusal(order, abi.encodeWithSelector(EscrowFactory.UnsupportedExtension.selector, order.extensionHash));
    }

    function test_createSource__zeroAmountOrHashlock__isRefused() public {
        Order memory order = _order();
        order.sourceAmount = 0;
        _expectRefusal(order, abi.encodeWithSelector(EscrowFactory.InvalidAmount.selector));
        order = _order();
        order.price.endAmount = 0;
        _expectRefusal(order, abi.encodeWithSelector(EscrowFactory.InvalidAmount.selector));
        order = _order();
        order.hashlockInfo = bytes32(0);
        _expectRefusal(order, abi.encodeWithSelector(EscrowFactory.InvalidHashlock.selector));
    }

    function test_createSource__windowTooShortOrOutOfOrder__isRefused() public {
        for (uint256 i = 0; i < 9; ++i) {
            Order memory order = _order();
            if (i == 0) order.timeLocks.sourceWithdrawal = MINIMUM_WINDOW - 1;
            if (i == 1) order.timeLocks.sourcePublicWithdrawal = 10 + MINIMUM_WINDOW - 1;
            if (i == 2) order.timeLocks.sourceCancellation = 120 + MINIMUM_WINDOW - 1;
            if (i == 3) order.timeLocks.sourcePublicCancellation = 300 + MINIMUM_WINDOW - 1;
            if (i == 4) order.timeLocks.destinationWithdrawal = MINIMUM_WINDOW - 1;
            if (i == 5) order.timeLocks.destinationPublicWithdrawal = 12 + MINIMUM_WINDOW - 1;
            if (i == 6) order.timeLocks.destinationCancellation = 100 + MINIMUM_WINDOW - 1;
            if (i == 7) order.timeLocks.destinationCancellation = order.timeLocks.sourceCancellation;
            if (i == 8) order.timeLocks.sourceWithdrawal = type(uint32).max;
            _expectRefusal(order, abi.encodeWithSelector(EscrowFactory.InvalidTimeLocks.selector));
        }
    }

    function test_createSource__makerWithoutTokensOrAllowance__isRefused() public {
        Order memory order = _order();
        bytes memory signature = _sign(order, MAKER_KEY);
        vm.prank(maker);
        sourceToken.approve(address(sourceFactory), SOURCE_AMOUNT - 1);
        vm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)")));
        vm.prank(taker);
        sourceFactory.createSource{value: SOURCE_DEPOSIT}(order, signature, "");
        // A refused fill consumes nothing.
        vm.assertFalse(sourceFactory.isNonceUsed(maker, order.nonce), "nonce");
        vm.assertFalse(sourceFactory.isHashlockUsed(maker, order.hashlockInfo), "hashlock");
    }

    function _only(address account) private pure returns (address[] memory takers) {
        takers = new address[](1);
        takers[0] = account;
    }
}
