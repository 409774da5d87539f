// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {BaseEscrow} from "../../src/BaseEscrow.sol";
import {DemoToken} from "../../src/DemoToken.sol";
import {DestinationEscrow} from "../../src/DestinationEscrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {SourceEscrow} from "../../src/SourceEscrow.sol";
import {
    Deposits,
    Destination,
    DestinationTerms,
    Immutables,
    Order,
    PriceCurve,
    PricePoint,
    TimeLocks
} from "../../src/Types.sol";
import {vm, Vm} from "./Vm.sol";

/// @notice One swap between two factories, and the actors around it. Both factories live in one test chain; a test
/// that needs two clocks warps before each call.
abstract contract SwapTest {
    struct Source {
        SourceEscrow escrow;
        Immutables immutables;
        DestinationTerms terms;
        uint256 fillIndex;
    }

    struct Target {
        DestinationEscrow escrow;
        Immutables immutables;
    }

    uint256 internal constant START = 1_700_000_000;
    uint32 internal constant MINIMUM_WINDOW = 5;
    uint32 internal constant RESCUE_DELAY = 7 days;
    uint256 internal constant SOURCE_AMOUNT = 100e18;
    uint256 internal constant END_AMOUNT = 1_000_000_000;
    uint256 internal constant SOURCE_DEPOSIT = 0.01 ether;
    uint256 internal constant DESTINATION_DEPOSIT = 0.02 ether;
    bytes32 internal constant SECRET = keccak256("the maker's secret");
    bytes32 internal constant WRONG_SECRET = keccak256("a guess");

    uint256 internal constant MAKER_KEY = 0xA11CE;
    uint256 internal constant STRANGER_KEY = 0xE7E;
    address internal maker = vm.addr(MAKER_KEY);
    address internal stranger = vm.addr(STRANGER_KEY);
    address internal receiver = _actor("receiver");
    address internal taker = _actor("taker");
    address internal otherTaker = _actor("other taker");
    address internal owner = _actor("owner");

    EscrowFactory internal sourceFactory;
    EscrowFactory internal destinationFactory;
    DemoToken internal sourceToken;
    DemoToken internal destinationToken;

    function setUp() public virtual {
        vm.label(maker, "maker");
        vm.label(stranger, "stranger");
        vm.warp(START);
        sourceFactory = new EscrowFactory(owner, MINIMUM_WINDOW, RESCUE_DELAY);
        destinationFactory = new EscrowFactory(owner, MINIMUM_WINDOW, RESCUE_DELAY);
        sourceToken = new DemoToken("Source", "SRC", 18);
        destinationToken = new DemoToken("Destination", "DST", 6);
        sourceToken.mint(maker, 10 * SOURCE_AMOUNT);
        vm.prank(maker);
        sourceToken.approve(address(sourceFactory), type(uint256).max);
        _fundTaker(taker);
        _fundTaker(otherTaker);
        vm.deal(stranger, 1 ether);
    }

    function _fundTaker(address account) internal {
        vm.deal(account, 10 ether);
        destinationToken.mint(account, 10 * END_AMOUNT);
        vm.prank(account);
        destinationToken.approve(address(destinationFactory), type(uint256).max);
    }

    function _order() internal view returns (Order memory order) {
        order.maker = maker;
        order.sourceToken = address(sourceToken);
        order.sourceAmount = SOURCE_AMOUNT;
        order.destination = Destination({
            chain: "eip155:31338",
            factory: abi.encodePacked(destinationFactory),
            token: abi.encodePacked(destinationToken),
            receiver: abi.encodePacked(receiver)
        });
        order.price = _price();
        order.deposits = Deposits({source: SOURCE_DEPOSIT, destination: DESTINATION_DEPOSIT});
        order.timeLocks = _timeLocks();
        order.hashlockInfo = keccak256(abi.encode(SECRET));
        order.nonce = 7;
        order.expiry = uint64(START + 1000);
    }

    function _price() internal pure returns (PriceCurve memory) {
        PricePoint[] memory points = new PricePoint[](2);
        points[0] = PricePoint({rateBump: 250_000, delay: 60});
        points[1] = PricePoint({rateBump: 100_000, delay: 90});
        return PriceCurve({
            startTime: uint64(START), duration: 300, endAmount: END_AMOUNT, initialRateBump: 400_000, points: points
        });
    }

    /// The worked example of the format's documentation.
    function _timeLocks() internal pure returns (TimeLocks memory) {
        return TimeLocks({
            sourceWithdrawal: 10,
            sourcePublicWithdrawal: 120,
            sourceCancellation: 300,
            sourcePublicCancellation: 420,
            destinationWithdrawal: 12,
            destinationPublicWithdrawal: 100,
            destinationCancellation: 250
        });
    }

    function _sign(Order memory order, uint256 key) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, sourceFactory.hashOrder(order));
        return abi.encodePacked(r, s, v);
    }

    /// The taker takes the order as it should.
    function _take(Order memory order) internal returns (Source memory) {
        return _takeAs(taker, order, _sign(order, MAKER_KEY), "");
    }

    function _takeAs(address by, Order memory order, bytes memory signature, bytes memory permit)
        internal
        returns (Source memory source)
    {
        vm.recordLogs();
        vm.prank(by);
        address escrow = sourceFactory.createSource{value: order.deposits.source}(order, signature, permit);
        Vm.Log memory log = _find(EscrowFactory.SourceEscrowCreated.selector);
        address announced;
        (announced, source.fillIndex, source.immutables, source.terms) =
            abi.decode(log.data, (address, uint256, Immutables, DestinationTerms));
        vm.assertEq(announced, escrow, "announced source escrow");
        source.escrow = SourceEscrow(escrow);
    }

    function _expectRefusal(Order memory order, bytes memory expected) internal {
        _expectRefusal(order, _sign(order, MAKER_KEY), expected);
    }

    /// Taking must fail with that error, and nothing may have moved.
    function _expectRefusal(Order memory order, bytes memory signature, bytes memory expected) internal {
        uint256 makerBefore = sourceToken.balanceOf(order.maker);
        vm.expectRevert(expected);
        vm.prank(taker);
        sourceFactory.createSource{value: order.deposits.source}(order, signature, "");
        vm.assertEq(sourceToken.balanceOf(order.maker), makerBefore, "the maker's tokens stayed");
    }

    /// Immutables of the destination escrow that the terms ask for.
    function _matching(Source memory source) internal pure returns (Immutables memory immutables) {
        immutables = Immutables({
            orderHash: source.immutables.orderHash,
            hashlock: source.immutables.hashlock,
            maker: address(bytes20(source.terms.receiver)),
            taker: source.immutables.taker,
            token: address(bytes20(source.terms.token)),
            amount: source.terms.amount,
            safetyDeposit: source.terms.safetyDeposit,
            timelocks: source.immutables.timelocks,
            parameters: source.immutables.parameters
        });
    }

    function _sourceCancellationAt(Source memory source) internal pure returns (uint64) {
        uint256 word = source.immutables.timelocks;
        return uint64((word >> 224) + uint32(word >> 64));
    }

    function _answer(Source memory source) internal returns (Target memory) {
        return _lock(_matching(source), _sourceCancellationAt(source));
    }

    function _lock(Immutables memory immutables, uint64 sourceCancellationAt) internal returns (Target memory target) {
        vm.recordLogs();
        vm.prank(immutables.taker);
        address escrow =
            destinationFactory.createDestination{value: immutables.safetyDeposit}(immutables, sourceCancellationAt);
        Vm.Log memory log = _find(EscrowFactory.DestinationEscrowCreated.selector);
        address announced;
        (announced, target.immutables) = abi.decode(log.data, (address, Immutables));
        vm.assertEq(announced, escrow, "announced destination escrow");
        target.escrow = DestinationEscrow(escrow);
    }

    function _find(bytes32 topic) internal returns (Vm.Log memory) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == topic) return logs[i];
        }
        revert("event not found");
    }

    function _stateIs(BaseEscrow escrow, BaseEscrow.State expected) internal view {
        vm.assertEq(uint256(escrow.state()), uint256(expected), "state of the escrow");
    }

    function _actor(string memory name) internal returns (address account) {
        account = address(uint160(uint256(keccak256(bytes(name)))));
        vm.label(account, name);
    }

    function _bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }
}
