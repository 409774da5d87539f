// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {BaseEscrow} from "../../src/BaseEscrow.sol";
import {ImmutablesLib} from "../../src/libraries/ImmutablesLib.sol";
import {OrderLib} from "../../src/libraries/OrderLib.sol";
import {TimeLocksLib} from "../../src/libraries/TimeLocksLib.sol";
import {Immutables, PriceCurve, PricePoint, TimeLocks} from "../../src/Types.sol";
import {SwapTest} from "../kit/SwapTest.sol";
import {vm} from "../kit/Vm.sol";

/// @notice The libraries against published worked examples and against their own laws.
contract LibrariesTest is SwapTest {
    using TimeLocksLib for uint256;

    function test_price__workedExample__isExact() public view {
        uint256[7] memory afterStart = [uint256(0), 30, 60, 100, 150, 200, 299];
        uint256[7] memory bumps = [uint256(400_000), 325_000, 250_000, 183_333, 100_000, 66_666, 666];
        for (uint256 i = 0; i < 7; ++i) {
            uint256 amount = sourceFactory.destinationAmountAt(_price(), START + afterStart[i]);
            vm.assertEq(amount, END_AMOUNT + END_AMOUNT * bumps[i] / 1e7, "amount");
        }
        vm.assertEq(sourceFactory.destinationAmountAt(_price(), START + 300), END_AMOUNT, "at the end");
        vm.assertEq(sourceFactory.destinationAmountAt(_price(), type(uint256).max), END_AMOUNT, "long after");
        vm.assertEq(sourceFactory.destinationAmountAt(_price(), 0), END_AMOUNT + END_AMOUNT / 25, "before the start");
    }

    function test_price__notAWholeUnit__isRoundedUpForTheMaker() public view {
        PriceCurve memory curve = _price();
        curve.endAmount = 1;
        vm.assertEq(sourceFactory.destinationAmountAt(curve, START), 2, "1.04 rounds up");
        vm.assertEq(sourceFactory.destinationAmountAt(curve, START + 299), 2, "1.0000666 rounds up");
        vm.assertEq(sourceFactory.destinationAmountAt(curve, START + 300), 1, "exact");
    }

    function test_price__hugeAmount__doesNotOverflowOnTheWay() public view {
        PriceCurve memory curve = _price();
        curve.endAmount = type(uint256).max / 1_040_000 * 1_000_000;
        sourceFactory.destinationAmountAt(curve, START);
    }

    function test_price__pointWithoutDelay__isAStep() public view {
        PriceCurve memory curve = _price();
        curve.points[0].delay = 0;
        vm.assertEq(sourceFactory.destinationAmountAt(curve, START), 1_040_000_000, "at the step: the earlier segment");
        vm.assertEq(sourceFactory.destinationAmountAt(curve, START + 45), 1_017_500_000, "after the step");
    }

    function test_price__pointAfterTheEnd__isCutOff() public view {
        PriceCurve memory curve = _price();
        curve.points[1].delay = 600;
        vm.assertEq(sourceFactory.destinationAmountAt(curve, START + 299), 1_019_025_000, "on the way to the point");
        vm.assertEq(sourceFactory.destinationAmountAt(curve, START + 300), END_AMOUNT, "the end is the end");
    }

    function testFuzz_price__anyCurve__staysBetweenItsBends(
        uint32 duration,
        uint128 endAmount,
        uint32[5] memory bumps,
        uint16[4] memory delays,
        uint256 time
    ) public view {
        PriceCurve memory curve = PriceCurve({
            startTime: uint64(START),
            duration: duration,
            endAmount: endAmount,
            initialRateBump: bumps[4],
            points: new PricePoint[](4)
        });
        uint256 highest = bumps[4];
        for (uint256 i = 0; i < 4; ++i) {
            curve.points[i] = PricePoint({rateBump: bumps[i], delay: delays[i]});
            if (bumps[i] > highest) highest = bumps[i];
        }
        uint256 amount = sourceFactory.destinationAmountAt(curve, _bound(time, START - 10, START + duration + 10));
        vm.assertGe(amount, endAmount, "never less than the end amount");
        vm.assertLe(amount, uint256(endAmount) + (uint256(endAmount) * highest + 1e7 - 1) / 1e7, "never above");
    }

    function testFuzz_price__fallingBends__neverRises(
        uint32 duration,
        uint128 endAmount,
        uint32[5] memory drops,
        uint16[4] memory delays,
        uint256 time,
        uint256 later
    ) public view {
        uint256 bump = type(uint32).max;
        PriceCurve memory curve = PriceCurve({
            startTime: uint64(START),
            duration: duration,
            endAmount: endAmount,
            initialRateBump: uint32(bump),
            points: new PricePoint[](4)
        });
        for (uint256 i = 0; i < 4; ++i) {
            bump -= drops[i] % (bump + 1);
            curve.points[i] = PricePoint({rateBump: uint32(bump), delay: delays[i]});
        }
        time = _bound(time, START, START + duration);
        later = _bound(later, time, START + duration);
        vm.assertGe(
            sourceFactory.destinationAmountAt(curve, time),
            sourceFactory.destinationAmountAt(curve, later),
            "the price falls"
        );
    }

    function test_timeLocks__workedExample__isExact() public pure {
        uint256 word = _packed(_timeLocks()).withDeployedAt(1_700_000_000);
        vm.assertEq(
            bytes32(word), 0x6553f100000000fa000000640000000c000001a40000012c000000780000000a, "documented word"
        );
    }

    function testFuzz_timeLocks__anyStages__readBackWithoutWrapping(uint32[7] memory delays, uint32 deployedAt)
        public
        pure
    {
        uint256 word;
        for (uint256 i = 0; i < 7; ++i) {
            word |= uint256(delays[i]) << (32 * i);
        }
        word = word.withDeployedAt(type(uint32).max).withDeployedAt(deployedAt);
        vm.assertEq(word.deployedAt(), deployedAt, "creation");
        for (uint256 i = 0; i < 7; ++i) {
            TimeLocksLib.Stage stage = TimeLocksLib.Stage(i);
            vm.assertEq(word.delayOf(stage), delays[i], "delay");
            vm.assertEq(word.startOf(stage), uint256(deployedAt) + delays[i], "start");
        }
    }

    function test_immutables__workedExample__isExact() public pure {
        Immutables memory immutables = Immutables({
            orderHash: bytes32(0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa),
            hashlock: bytes32(0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb),
            maker: address(0x0101010101010101010101010101010101010101),
            taker: address(0x0202020202020202020202020202020202020202),
            token: address(0x0303030303030303030303030303030303030303),
            amount: 1e18,
            safetyDeposit: 1e16,
            timelocks: 0x6553f100000000fa000000640000000c000001a40000012c000000780000000a,
            parameters: new bytes(128)
        });
        vm.assertEq(
            ImmutablesLib.hash(immutables),
            0x12bd313fa9e0233ffd048225e2f03a4744d68d3edaf5b645915b89b6d45ba6a7,
            "documented hash"
        );
    }

    function test_order__typeHash__isThatOfTheWrittenType() public pure {
        vm.assertEq(
            OrderLib.ORDER_TYPEHASH,
            keccak256(
                "Order(address maker,address sourceToken,uint256 sourceAmount,Destination destination,PriceCurve price,Deposits deposits,TimeLocks timeLocks,bytes32 hashlockInfo,address[] allowedTakers,uint256 nonce,uint64 expiry,bytes32 extensionHash)Deposits(uint256 source,uint256 destination)Destination(string chain,bytes factory,bytes token,bytes receiver)PriceCurve(uint64 startTime,uint32 duration,uint256 endAmount,uint32 initialRateBump,PricePoint[] points)PricePoint(uint32 rateBump,uint32 delay)TimeLocks(uint32 sourceWithdrawal,uint32 sourcePublicWithdrawal,uint32 sourceCancellation,uint32 sourcePublicCancellation,uint32 destinationWithdrawal,uint32 destinationPublicWithdrawal,uint32 destinationCancellation)"
            ),
            "type hash"
        );
    }

    function test_events__topics__areThePublishedOnes() public pure {
        vm.assertEq(
            BaseEscrow.EscrowWithdrawal.selector,
            0xe346f5c97a360db5188bfa5d3ec5f0583abde420c6ba4d08b6cfe61addc17105,
            "withdrawal"
        );
        vm.assertEq(
            BaseEscrow.EscrowCancelled.selector,
            0x6e3be9294e58d10b9c8053cfd5e09871b67e442fe394d6b0870d336b9df984a9,
            "cancellation"
        );
        vm.assertEq(
            BaseEscrow.FundsRescued.selector,
            0xc4474c2790e13695f6d2b6f1d8e164290b55370f87a542fd7711abe0a1bf40ac,
            "rescue"
        );
    }

    function _packed(TimeLocks memory locks) private pure returns (uint256) {
        return uint256(locks.sourceWithdrawal) | (uint256(locks.sourcePublicWithdrawal) << 32)
            | (uint256(locks.sourceCancellation) << 64) | (uint256(locks.sourcePublicCancellation) << 96)
            | (uint256(locks.destinationWithdrawal) << 128) | (uint256(locks.destinationPublicWithdrawal) << 160)
            | (uint256(locks.destinationCancellation) << 192);
    }
}
