// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {BaseEscrow} from "../../src/BaseEscrow.sol";
import {SourceEscrow} from "../../src/SourceEscrow.sol";
import {Immutables} from "../../src/Types.sol";
import {SwapTest} from "../kit/SwapTest.sol";
import {vm} from "../kit/Vm.sol";
import {Penniless, Reentrant} from "../kit/Wallets.sol";

/// @notice Every row of the source window table, at its first and last second.
contract SourceEscrowTest is SwapTest {
    uint256 private constant W = START + 10;
    uint256 private constant PW = START + 120;
    uint256 private constant C = START + 300;
    uint256 private constant PC = START + 420;

    Source private source;
    SourceEscrow private escrow;

    function setUp() public override {
        super.setUp();
        source = _take(_order());
        escrow = source.escrow;
    }

    function test_withdraw__takerWithTheSecretInTime__paysTheTaker() public {
        uint256[2] memory times = [W, C - 1];
        for (uint256 i = 0; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            uint256 coins = taker.balance;
            vm.warp(times[i]);
            vm.expectEmit(true, true, true, true, address(escrow));
            emit BaseEscrow.EscrowWithdrawal(SECRET);
            vm.prank(taker);
            escrow.withdraw(SECRET, source.immutables);
            vm.assertEq(sourceToken.balanceOf(taker), SOURCE_AMOUNT, "tokens");
            vm.assertEq(taker.balance, coins + SOURCE_DEPOSIT, "deposit");
            _stateIs(escrow, BaseEscrow.State.Withdrawn);
            vm.revertToState(snapshot);
        }
    }

    function test_withdrawTo__takerWithTheSecretInTime__paysTheTarget() public {
        uint256 coins = taker.balance;
        vm.warp(W);
        vm.prank(taker);
        escrow.withdrawTo(SECRET, otherTaker, source.immutables);
        vm.assertEq(sourceToken.balanceOf(otherTaker), SOURCE_AMOUNT, "tokens");
        vm.assertEq(taker.balance, coins + SOURCE_DEPOSIT, "the deposit goes to the caller");
    }

    function test_withdrawTo__nobodyOrTheEscrowItself__isRefused() public {
        vm.warp(W);
        address[2] memory targets = [address(0), address(escrow)];
        for (uint256 i = 0; i < 2; ++i) {
            _expectFailure(
                taker,
                abi.encodeCall(SourceEscrow.withdrawTo, (SECRET, targets[i], source.immutables)),
                abi.encodeWithSelector(SourceEscrow.InvalidTarget.selector, targets[i])
            );
        }
    }

    function test_publicWithdraw__anyoneWithTheSecretInTime__paysTheTaker() public {
        uint256[2] memory times = [PW, C - 1];
        for (uint256 i = 0; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            vm.warp(times[i]);
            vm.prank(stranger);
            escrow.publicWithdraw(SECRET, source.immutables);
            vm.assertEq(sourceToken.balanceOf(taker), SOURCE_AMOUNT, "the tokens go to the taker");
            vm.assertEq(stranger.balance, 1 ether + SOURCE_DEPOSIT, "the deposit goes to the caller");
            vm.revertToState(snapshot);
        }
    }

    function test_cancel__takerAfterC__paysTheMaker() public {
        uint256 coins = taker.balance;
        vm.warp(C);
        vm.expectEmit(true, true, true, true, address(escrow));
        emit BaseEscrow.EscrowCancelled();
        vm.prank(taker);
        escrow.cancel(source.immutables);
        vm.assertEq(sourceToken.balanceOf(maker), 10 * SOURCE_AMOUNT, "tokens");
        vm.assertEq(taker.balance, coins + SOURCE_DEPOSIT, "deposit");
        _stateIs(escrow, BaseEscrow.State.Cancelled);
    }

    function test_publicCancel__anyoneAfterPC__paysTheMaker() public {
        vm.warp(PC);
        vm.prank(stranger);
        escrow.publicCancel(source.immutables);
        vm.assertEq(sourceToken.balanceOf(maker), 10 * SOURCE_AMOUNT, "tokens");
        vm.assertEq(stranger.balance, 1 ether + SOURCE_DEPOSIT, "deposit");
    }

    function test_source__outsideItsWindow__everyActionIsRefused() public {
        _expectEarly(W, taker, abi.encodeCall(SourceEscrow.withdraw, (SECRET, source.immutables)));
        _expectEarly(W, taker, abi.encodeCall(SourceEscrow.withdrawTo, (SECRET, taker, source.immutables)));
        _expectEarly(PW, taker, abi.encodeCall(SourceEscrow.publicWithdraw, (SECRET, source.immutables)));
        _expectEarly(C, taker, abi.encodeCall(SourceEscrow.cancel, (source.immutables)));
        _expectEarly(PC, taker, abi.encodeCall(SourceEscrow.publicCancel, (source.immutables)));
        vm.warp(C);
        bytes memory late = abi.encodeWithSelector(BaseEscrow.TooLate.selector, C, C);
        _expectFailure(taker, abi.encodeCall(SourceEscrow.withdraw, (SECRET, source.immutables)), late);
        _expectFailure(taker, abi.encodeCall(SourceEscrow.withdrawTo, (SECRET, taker, source.immutables)), late);
        _expectFailure(taker, abi.encodeCall(SourceEscrow.publicWithdraw, (SECRET, source.immutables)), late);
    }

    function test_source__notTheTaker__cannotUseTheTakersActions() public {
        address[3] memory others = [maker, stranger, otherTaker];
        for (uint256 i = 0; i < 3; ++i) {
            bytes memory refusal = abi.encodeWithSelector(BaseEscrow.OnlyTaker.selector, others[i], taker);
            vm.warp(W);
            _expectFailure(others[i], abi.encodeCall(SourceEscrow.withdraw, (SECRET, source.immutables)), refusal);
            _expectFailure(
                others[i], abi.encodeCall(SourceEscrow.withdrawTo, (SECRET, others[i], source.immutables)), refusal
            );
            vm.warp(C);
            _expectFailure(others[i], abi.encodeCall(SourceEscrow.cancel, (source.immutables)), refusal);
        }
    }

    function test_source__wrongSecret__isRefused() public {
        vm.warp(PW);
        bytes memory refusal = abi.encodeWithSelector(BaseEscrow.InvalidSecret.selector);
        _expectFailure(taker, abi.encodeCall(SourceEscrow.withdraw, (WRONG_SECRET, source.immutables)), refusal);
        _expectFailure(
            stranger, abi.encodeCall(SourceEscrow.publicWithdraw, (WRONG_SECRET, source.immutables)), refusal
        );
    }

    function test_source__otherImmutables__areRefused() public {
        vm.warp(W);
        for (uint256 member = 0; member < 9; ++member) {
            Immutables memory forged = abi.decode(abi.encode(source.immutables), (Immutables));
            if (member == 0) forged.orderHash = bytes32(0);
            if (member == 1) forged.hashlock = keccak256(abi.encode(WRONG_SECRET));
            if (member == 2) forged.maker = stranger;
            if (member == 3) forged.taker = stranger;
            if (member == 4) forged.token = address(destinationToken);
            if (member == 5) forged.amount -= 1;
            if (member == 6) forged.safetyDeposit -= 1;
            if (member == 7) forged.timelocks -= 1;
            if (member == 8) forged.parameters = new bytes(96);
            bytes memory refusal = abi.encodeWithSelector(BaseEscrow.InvalidImmutables.selector);
            _expectFailure(forged.taker, abi.encodeCall(SourceEscrow.withdraw, (SECRET, forged)), refusal);
            _expectFailure(forged.taker, abi.encodeCall(BaseEscrow.rescueFunds, (address(0), 0, forged)), refusal);
        }
    }

    function test_source__closed__nothingIsPaidTwice() public {
        sourceToken.mint(address(escrow), SOURCE_AMOUNT); // A gift: what a second payment would come from.
        vm.deal(address(escrow), 1 ether);
        vm.warp(W);
        vm.prank(taker);
        escrow.withdraw(SECRET, source.immutables);
        bytes memory refusal = abi.encodeWithSelector(BaseEscrow.EscrowClosed.selector);
        vm.warp(PW);
        _expectFailure(taker, abi.encodeCall(SourceEscrow.withdraw, (SECRET, source.immutables)), refusal);
        _expectFailure(stranger, abi.encodeCall(SourceEscrow.publicWithdraw, (SECRET, source.immutables)), refusal);
        vm.warp(PC);
        _expectFailure(taker, abi.encodeCall(SourceEscrow.cancel, (source.immutables)), refusal);
        _expectFailure(stranger, abi.encodeCall(SourceEscrow.publicCancel, (source.immutables)), refusal);
        vm.assertEq(sourceToken.balanceOf(address(escrow)), SOURCE_AMOUNT, "the gift is still there");
    }

    function test_source__implementationItself__cannotBeUsed() public {
        SourceEscrow implementation = SourceEscrow(sourceFactory.sourceImplementation());
        vm.warp(W);
        vm.expectRevert(BaseEscrow.InvalidImmutables.selector);
        vm.prank(taker);
        implementation.withdraw(SECRET, source.immutables);
    }

    function test_publicCancel__callerThatTakesNoCoins__failsAsAWholeAndOthersStillCan() public {
        Penniless helper = new Penniless();
        vm.warp(PC);
        vm.expectRevert(
            abi.encodeWithSelector(BaseEscrow.NativeTransferFailed.selector, address(helper), SOURCE_DEPOSIT)
        );
        helper.call(address(escrow), abi.encodeCall(SourceEscrow.publicCancel, (source.immutables)));
        vm.prank(stranger);
        escrow.publicCancel(source.immutables);
        vm.assertEq(sourceToken.balanceOf(maker), 10 * SOURCE_AMOUNT, "tokens");
    }

    function test_publicWithdraw__callerThatComesBackIn__isPaidOnce() public {
        Reentrant helper = new Reentrant();
        bytes memory again = abi.encodeCall(SourceEscrow.publicWithdraw, (SECRET, source.immutables));
        vm.deal(address(escrow), 1 ether);
        helper.prepare(address(escrow), again);
        vm.warp(PW);
        helper.call(address(escrow), again, 0);
        vm.assertEq(helper.attempts(), 1, "came back");
        vm.assertEq(helper.successes(), 0, "and got nothing");
        vm.assertEq(address(helper).balance, SOURCE_DEPOSIT, "one deposit");
    }

    function test_source__coinsSentToIt__areNotTaken() public {
        vm.prank(stranger);
        (bool success,) = address(escrow).call{value: 1}("");
        vm.assertFalse(success, "an escrow takes no coins after its creation");
    }

    function _expectEarly(uint256 opensAt, address caller, bytes memory data) private {
        vm.warp(opensAt - 1);
        _expectFailure(caller, data, abi.encodeWithSelector(BaseEscrow.TooEarly.selector, opensAt, opensAt - 1));
    }

    function _expectFailure(address caller, bytes memory data, bytes memory expected) private {
        vm.prank(caller);
        (bool success, bytes memory answer) = address(escrow).call(data);
        vm.assertFalse(success, "refused");
        vm.assertEq(answer, expected, "for that reason");
    }
}
