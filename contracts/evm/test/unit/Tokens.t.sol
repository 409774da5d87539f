// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {BaseEscrow} from "../../src/BaseEscrow.sol";
import {DemoToken} from "../../src/DemoToken.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {SourceEscrow} from "../../src/SourceEscrow.sol";
import {Immutables, Order} from "../../src/Types.sol";
import {SwapTest} from "../kit/SwapTest.sol";
import {FalseToken, GenerousToken, HookToken, SilentToken} from "../kit/Tokens.sol";
import {vm} from "../kit/Vm.sol";
import {DemoFeeToken} from "../tokens/DemoFeeToken.sol";

/// @notice Strange tokens and permits.
contract TokensTest is SwapTest {
    bytes32 private constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    function test_createSource__feeOnTransferToken__isRefused() public {
        DemoToken token = new DemoFeeToken("Fee", "FEE", 18);
        Order memory order = _orderOf(token);
        _expectRefusal(
            order,
            abi.encodeWithSelector(EscrowFactory.InexactTransfer.selector, SOURCE_AMOUNT * 99 / 100, SOURCE_AMOUNT)
        );
        vm.assertEq(token.balanceOf(maker), SOURCE_AMOUNT, "the maker's tokens stayed");
    }

    function test_createSource__tokenThatDeliversMore__isRefused() public {
        Order memory order = _orderOf(new GenerousToken());
        _expectRefusal(
            order, abi.encodeWithSelector(EscrowFactory.InexactTransfer.selector, SOURCE_AMOUNT + 1, SOURCE_AMOUNT)
        );
    }

    function test_createDestination__feeOnTransferToken__isRefused() public {
        DemoToken token = new DemoFeeToken("Fee", "FEE", 6);
        Immutables memory immutables = _matching(_take(_order()));
        immutables.token = address(token);
        token.mint(taker, immutables.amount);
        vm.prank(taker);
        token.approve(address(destinationFactory), immutables.amount);
        uint256 fee = (immutables.amount + 99) / 100;
        vm.expectRevert(
            abi.encodeWithSelector(EscrowFactory.InexactTransfer.selector, immutables.amount - fee, immutables.amount)
        );
        vm.prank(taker);
        destinationFactory.createDestination{value: immutables.safetyDeposit}(immutables, type(uint64).max);
    }

    function test_createSource__tokenWithoutAnswers__works() public {
        SilentToken token = new SilentToken();
        token.mint(maker, SOURCE_AMOUNT);
        vm.prank(maker);
        token.approve(address(sourceFactory), SOURCE_AMOUNT);
        Order memory order = _order();
        order.sourceToken = address(token);
        // A permit for a token that knows none is a permit that failed.
        Source memory source =
            _takeAs(taker, order, _sign(order, MAKER_KEY), abi.encode(1, 2, uint8(27), bytes32(0), bytes32(0)));
        vm.warp(START + 10);
        vm.prank(taker);
        source.escrow.withdraw(SECRET, source.immutables);
        vm.assertEq(token.balanceOf(taker), SOURCE_AMOUNT, "tokens");
    }

    function test_escrow__tokenThatAnswersFalse__failsAsAWhole() public {
        FalseToken token = new FalseToken();
        Order memory order = _orderOf(token);
        token.refuse(true);
        _expectRefusal(
            order, abi.encodeWithSelector(bytes4(keccak256("SafeERC20FailedOperation(address)")), address(token))
        );
        token.refuse(false);
        Source memory source = _take(order);
        token.refuse(true);
        vm.warp(START + 10);
        vm.expectRevert(abi.encodeWithSelector(bytes4(keccak256("SafeERC20FailedOperation(address)")), address(token)));
        vm.prank(taker);
        source.escrow.withdraw(SECRET, source.immutables);
        _stateIs(source.escrow, BaseEscrow.State.Open);
        vm.assertEq(address(source.escrow).balance, SOURCE_DEPOSIT, "the deposit stayed");
    }

    function test_createSource__addressWithoutCode__isRefused() public {
        Order memory order = _order();
        order.sourceToken = stranger;
        bytes memory signature = _sign(order, MAKER_KEY);
        vm.prank(taker);
        (bool success,) = address(sourceFactory).call{value: SOURCE_DEPOSIT}(
            abi.encodeCall(EscrowFactory.createSource, (order, signature, ""))
        );
        vm.assertFalse(success, "no token");
    }

    function test_createSource__tokenThatComesBackIn__cannotTakeAnotherOrder() public {
        HookToken token = new HookToken();
        Order memory order = _orderOf(token);
        Order memory second = _orderOf(token);
        second.nonce += 1;
        second.hashlockInfo = keccak256(abi.encode(WRONG_SECRET));
        second.deposits.source = 0;
        token.listen(
            address(sourceFactory), abi.encodeCall(EscrowFactory.createSource, (second, _sign(second, MAKER_KEY), ""))
        );
        _take(order);
        vm.assertEq(token.attempts(), 1, "came back");
        vm.assertEq(
            token.lastAnswer(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "refused"
        );
    }

    function test_escrow__tokenThatComesBackIn__isPaidOnce() public {
        HookToken token = new HookToken();
        Source memory source = _take(_orderOf(token));
        token.mint(address(source.escrow), SOURCE_AMOUNT);
        token.listen(address(source.escrow), abi.encodeCall(SourceEscrow.publicWithdraw, (SECRET, source.immutables)));
        vm.warp(START + 120);
        vm.prank(taker);
        source.escrow.withdraw(SECRET, source.immutables);
        vm.assertEq(token.attempts(), 1, "came back");
        vm.assertEq(
            token.lastAnswer(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "refused"
        );
        vm.assertEq(token.balanceOf(taker), SOURCE_AMOUNT, "paid once");
    }

    function test_createSource__permit__needsNoApprovalBefore() public {
        Order memory order = _withoutApproval();
        _takeAs(taker, order, _sign(order, MAKER_KEY), _permit(SOURCE_AMOUNT, START + 1));
        vm.assertEq(sourceToken.allowance(maker, address(sourceFactory)), 0, "used up");
    }

    function test_createSource__permitFrontRun__works() public {
        Order memory order = _withoutApproval();
        bytes memory permit = _permit(SOURCE_AMOUNT, START + 1);
        (uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) =
            abi.decode(permit, (uint256, uint256, uint8, bytes32, bytes32));
        vm.prank(stranger);
        sourceToken.permit(maker, address(sourceFactory), value, deadline, v, r, s);
        Source memory source = _takeAs(taker, order, _sign(order, MAKER_KEY), permit);
        vm.assertEq(sourceToken.balanceOf(address(source.escrow)), SOURCE_AMOUNT, "locked");
    }

    function test_createSource__permitThatDoesNotSuffice__isRefused() public {
        Order memory order = _withoutApproval();
        bytes[3] memory permits =
            [_permit(SOURCE_AMOUNT - 1, START + 1), _permit(SOURCE_AMOUNT, START - 1), _permit(SOURCE_AMOUNT, START)];
        permits[2] = abi.encode(SOURCE_AMOUNT, START, uint256(256 + 27), bytes32(uint256(1)), bytes32(uint256(1)));
        for (uint256 i = 0; i < 3; ++i) {
            bytes memory signature = _sign(order, MAKER_KEY);
            vm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)")));
            vm.prank(taker);
            sourceFactory.createSource{value: SOURCE_DEPOSIT}(order, signature, permits[i]);
        }
    }

    function test_createSource__malformedPermit__isRefused() public {
        Order memory order = _order();
        bytes memory signature = _sign(order, MAKER_KEY);
        vm.expectRevert(abi.encodeWithSelector(EscrowFactory.MalformedPermit.selector, 96));
        vm.prank(taker);
        sourceFactory.createSource{value: SOURCE_DEPOSIT}(order, signature, new bytes(96));
    }

    function test_permit__withoutASignedOrder__movesNothing() public {
        Order memory order = _withoutApproval();
        bytes memory permit = _permit(SOURCE_AMOUNT, START + 1);
        vm.expectRevert(EscrowFactory.InvalidSignature.selector);
        vm.prank(taker);
        sourceFactory.createSource{value: SOURCE_DEPOSIT}(order, new bytes(65), permit);
    }

    function test_demoToken__mint__isTheOwnersOnly() public {
        vm.expectPartialRevert(bytes4(keccak256("OwnableUnauthorizedAccount(address)")));
        vm.prank(stranger);
        sourceToken.mint(stranger, 1);
        vm.assertEq(sourceToken.decimals(), 18, "decimals");
        vm.assertEq(destinationToken.decimals(), 6, "decimals");
    }

    function _orderOf(DemoToken token) private returns (Order memory order) {
        token.mint(maker, SOURCE_AMOUNT);
        vm.prank(maker);
        token.approve(address(sourceFactory), type(uint256).max);
        order = _order();
        order.sourceToken = address(token);
    }

    function _withoutApproval() private returns (Order memory) {
        vm.prank(maker);
        sourceToken.approve(address(sourceFactory), 0);
        return _order();
    }

    function _permit(uint256 value, uint256 deadline) private view returns (bytes memory) {
        bytes32 structHash = keccak256(
            abi.encode(PERMIT_TYPEHASH, maker, address(sourceFactory), value, sourceToken.nonces(maker), deadline)
        );
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", sourceToken.DOMAIN_SEPARATOR(), structHash));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(MAKER_KEY, digest);
        return abi.encode(value, deadline, v, r, s);
    }
}
