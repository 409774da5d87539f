// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {BaseEscrow} from "../../src/BaseEscrow.sol";
import {SourceEscrow} from "../../src/SourceEscrow.sol";
import {Order} from "../../src/Types.sol";
import {SwapTest} from "../kit/SwapTest.sol";
import {TwoAddressToken} from "../kit/Tokens.sol";
import {vm} from "../kit/Vm.sol";
import {Reentrant} from "../kit/Wallets.sol";

/// @notice What may be collected from an escrow besides its own amount, by whom and when.
contract RescueTest is SwapTest {
    uint256 private constant OPEN = START + RESCUE_DELAY;

    Source private source;
    SourceEscrow private escrow;

    function setUp() public override {
        super.setUp();
        source = _take(_order());
        escrow = source.escrow;
    }

    function test_rescueFunds__foreignToken__goesToTheTaker() public {
        destinationToken.mint(address(escrow), 5);
        uint256 before = destinationToken.balanceOf(taker);
        vm.warp(OPEN);
        vm.expectEmit(true, true, true, true, address(escrow));
        emit BaseEscrow.FundsRescued(address(destinationToken), 5);
        vm.prank(taker);
        escrow.rescueFunds(address(destinationToken), 5, source.immutables);
        vm.assertEq(destinationToken.balanceOf(taker), before + 5, "tokens");
    }

    function test_rescueFunds__surplusWhileOpen__leavesTheEscrowedAmount() public {
        sourceToken.mint(address(escrow), 5);
        vm.deal(address(escrow), SOURCE_DEPOSIT + 3);
        vm.warp(OPEN);
        _expectRefusal(address(sourceToken), 6);
        _expectRefusal(address(0), 4);
        _expectRefusal(address(sourceToken), SOURCE_AMOUNT);
        _expectRefusal(address(0), SOURCE_DEPOSIT);
        vm.prank(taker);
        escrow.rescueFunds(address(sourceToken), 5, source.immutables);
        vm.prank(taker);
        escrow.rescueFunds(address(0), 3, source.immutables);
        vm.assertEq(sourceToken.balanceOf(address(escrow)), SOURCE_AMOUNT, "amount");
        vm.assertEq(address(escrow).balance, SOURCE_DEPOSIT, "deposit");
        // The exit still works in full.
        vm.prank(stranger);
        escrow.publicCancel(source.immutables);
        vm.assertEq(sourceToken.balanceOf(maker), 10 * SOURCE_AMOUNT, "the maker is whole");
    }

    function test_rescueFunds__closedEscrow__givesWhatIsLeft() public {
        sourceToken.mint(address(escrow), 5);
        vm.warp(OPEN);
        vm.prank(stranger);
        escrow.publicCancel(source.immutables);
        vm.prank(taker);
        escrow.rescueFunds(address(sourceToken), 5, source.immutables);
        vm.assertEq(sourceToken.balanceOf(taker), 5, "surplus");
    }

    function test_rescueFunds__tooEarlyOrNotTheTaker__isRefused() public {
        destinationToken.mint(address(escrow), 5);
        vm.warp(OPEN - 1);
        vm.expectRevert(abi.encodeWithSelector(BaseEscrow.TooEarly.selector, OPEN, OPEN - 1));
        vm.prank(taker);
        escrow.rescueFunds(address(destinationToken), 5, source.immutables);
        vm.warp(OPEN);
        address[2] memory others = [maker, stranger];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(BaseEscrow.OnlyTaker.selector, others[i], taker));
            vm.prank(others[i]);
            escrow.rescueFunds(address(destinationToken), 5, source.immutables);
        }
    }

    function test_rescueFunds__vanishedTakersDestination__isNotTouched() public {
        Target memory target = _answer(source);
        vm.warp(OPEN);
        vm.expectRevert(BaseEscrow.RescueTouchesEscrow.selector);
        vm.prank(taker);
        target.escrow.rescueFunds(address(destinationToken), 1, target.immutables);
        vm.prank(taker);
        target.escrow.cancel(target.immutables);
        vm.assertEq(destinationToken.balanceOf(taker), 10 * END_AMOUNT, "cancellation is the way");
    }

    function test_rescueFunds__takerThatComesBackInWhilePaid__isRefused() public {
        Reentrant contractTaker = new Reentrant();
        vm.deal(address(contractTaker), 1 ether);
        Order memory order = _order();
        order.nonce += 1;
        order.hashlockInfo = keccak256(abi.encode(WRONG_SECRET));
        source = _takeAs(address(contractTaker), order, _sign(order, MAKER_KEY), "");
        sourceToken.mint(address(source.escrow), 5);
        contractTaker.prepare(
            address(source.escrow), abi.encodeCall(BaseEscrow.rescueFunds, (address(sourceToken), 5, source.immutables))
        );
        vm.warp(OPEN);
        contractTaker.call(address(source.escrow), abi.encodeCall(SourceEscrow.cancel, (source.immutables)), 0);
        vm.assertEq(contractTaker.attempts(), 1, "came back");
        vm.assertEq(contractTaker.successes(), 0, "and got nothing");
        contractTaker.attack();
        vm.assertEq(sourceToken.balanceOf(address(contractTaker)), 5, "afterwards it may collect the surplus");
    }

    /// A token reachable through two addresses must not let the taker take the escrowed amount as a "foreign" token.
    function test_regression_rescueThroughASecondAddress__isRefused() public {
        TwoAddressToken token = new TwoAddressToken();
        token.mint(maker, SOURCE_AMOUNT);
        vm.prank(maker);
        token.approve(address(sourceFactory), SOURCE_AMOUNT);
        Order memory order = _order();
        order.nonce += 1;
        order.hashlockInfo = keccak256(abi.encode(WRONG_SECRET));
        order.sourceToken = address(token);
        source = _take(order);
        escrow = source.escrow;
        vm.warp(OPEN);
        _expectRefusal(token.secondAddress(), 1);
    }

    function _expectRefusal(address token, uint256 amount) private {
        vm.expectRevert(BaseEscrow.RescueTouchesEscrow.selector);
        vm.prank(taker);
        escrow.rescueFunds(token, amount, source.immutables);
    }
}
