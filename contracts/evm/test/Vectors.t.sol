// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {OrderLib} from "../src/libraries/OrderLib.sol";
import {Immutables, Order, PricePoint} from "../src/Types.sol";
import {SwapTest} from "./kit/SwapTest.sol";
import {vm} from "./kit/Vm.sol";

contract OrderHasher {
    function structHash(Order calldata order) external pure returns (bytes32) {
        return OrderLib.structHash(order);
    }
}

/// @notice Golden vectors for other implementations: what the contracts compute for two orders. The committed file
/// must equal what the contracts say now; `node build.mjs --vectors` writes it anew.
contract VectorsTest is SwapTest {
    string private constant FILE = "vectors/order.json";
    uint256 private constant CHAIN_ID = 31337;

    OrderHasher private hasher;

    function setUp() public override {
        vm.chainId(CHAIN_ID);
        super.setUp();
        hasher = new OrderHasher();
    }

    function test_vectors__committedFile__isWhatTheContractsCompute() public {
        string[] memory members = new string[](4);
        members[0] = _text("about", "computed by the contracts; write anew with `node build.mjs --vectors`");
        members[1] = _number("chainId", CHAIN_ID);
        members[2] = _text("verifyingContract", vm.toString(address(sourceFactory)));
        string[] memory vectors = new string[](2);
        vectors[0] = _vector("no points, anyone may take it", _plain());
        vectors[1] = _vector("points and allowed takers", _rich());
        members[3] = _raw("vectors", _list(vectors));
        string memory json = string.concat(_object(members), "\n");

        if (vm.envOr("LOCKSTEP_WRITE_VECTORS", false)) vm.writeFile(FILE, json);
        vm.assertEq(vm.readFile(FILE), json, "stale vectors: run `node build.mjs --vectors`");
    }

    function _plain() private view returns (Order memory order) {
        order = _rich();
        order.price.points = new PricePoint[](0);
        order.allowedTakers = new address[](0);
        order.nonce = 0;
        order.price.endAmount = 3;
    }

    function _rich() private view returns (Order memory order) {
        order = _order();
        order.allowedTakers = new address[](2);
        order.allowedTakers[0] = taker;
        order.allowedTakers[1] = otherTaker;
        order.nonce = type(uint256).max;
    }

    function _vector(string memory name, Order memory order) private view returns (string memory) {
        bytes32 digest = sourceFactory.hashOrder(order);
        string[] memory members = new string[](8);
        members[0] = _text("name", name);
        members[1] = _raw("order", _orderJson(order));
        members[2] = _text("structHash", vm.toString(hasher.structHash(order)));
        members[3] = _text("digest", vm.toString(digest));
        members[4] = _text("makerKey", vm.toString(bytes32(MAKER_KEY)));
        members[5] = _text("signature", vm.toString(_sign(order, MAKER_KEY)));
        members[6] = _raw("prices", _pricesJson(order));
        members[7] = _raw("sourceEscrow", _escrowJson(order, digest));
        return _object(members);
    }

    function _orderJson(Order memory order) private pure returns (string memory) {
        string[] memory members = new string[](12);
        members[0] = _text("maker", vm.toString(order.maker));
        members[1] = _text("sourceToken", vm.toString(order.sourceToken));
        members[2] = _text("sourceAmount", vm.toString(order.sourceAmount));
        members[3] = _raw("destination", _destinationJson(order));
        members[4] = _raw("price", _priceJson(order));
        members[5] = _raw("deposits", _depositsJson(order));
        members[6] = _raw("timeLocks", _timeLocksJson(order));
        members[7] = _text("hashlockInfo", vm.toString(order.hashlockInfo));
        members[8] = _raw("allowedTakers", _takersJson(order));
        members[9] = _text("nonce", vm.toString(order.nonce));
        members[10] = _number("expiry", order.expiry);
        members[11] = _text("extensionHash", vm.toString(order.extensionHash));
        return _object(members);
    }

    function _destinationJson(Order memory order) private pure returns (string memory) {
        string[] memory members = new string[](4);
        members[0] = _text("chain", order.destination.chain);
        members[1] = _text("factory", vm.toString(order.destination.factory));
        members[2] = _text("token", vm.toString(order.destination.token));
        members[3] = _text("receiver", vm.toString(order.destination.receiver));
        return _object(members);
    }

    function _priceJson(Order memory order) private pure returns (string memory) {
        uint256 count = order.price.points.length;
        string[] memory points = new string[](count);
        for (uint256 i = 0; i < count; ++i) {
            string[] memory point = new string[](2);
            point[0] = _number("rateBump", order.price.points[i].rateBump);
            point[1] = _number("delay", order.price.points[i].delay);
            points[i] = _object(point);
        }
        string[] memory members = new string[](5);
        members[0] = _number("startTime", order.price.startTime);
        members[1] = _number("duration", order.price.duration);
        members[2] = _text("endAmount", vm.toString(order.price.endAmount));
        members[3] = _number("initialRateBump", order.price.initialRateBump);
        members[4] = _raw("points", _list(points));
        return _object(members);
    }

    function _depositsJson(Order memory order) private pure returns (string memory) {
        string[] memory members = new string[](2);
        members[0] = _text("source", vm.toString(order.deposits.source));
        members[1] = _text("destination", vm.toString(order.deposits.destination));
        return _object(members);
    }

    function _timeLocksJson(Order memory order) private pure returns (string memory) {
        string[] memory members = new string[](7);
        members[0] = _number("sourceWithdrawal", order.timeLocks.sourceWithdrawal);
        members[1] = _number("sourcePublicWithdrawal", order.timeLocks.sourcePublicWithdrawal);
        members[2] = _number("sourceCancellation", order.timeLocks.sourceCancellation);
        members[3] = _number("sourcePublicCancellation", order.timeLocks.sourcePublicCancellation);
        members[4] = _number("destinationWithdrawal", order.timeLocks.destinationWithdrawal);
        members[5] = _number("destinationPublicWithdrawal", order.timeLocks.destinationPublicWithdrawal);
        members[6] = _number("destinationCancellation", order.timeLocks.destinationCancellation);
        return _object(members);
    }

    function _takersJson(Order memory order) private pure returns (string memory) {
        string[] memory takers = new string[](order.allowedTakers.length);
        for (uint256 i = 0; i < takers.length; ++i) {
            takers[i] = string.concat('"', vm.toString(order.allowedTakers[i]), '"');
        }
        return _list(takers);
    }

    function _pricesJson(Order memory order) private view returns (string memory) {
        uint16[12] memory afterStart = [0, 1, 29, 30, 60, 61, 100, 150, 151, 200, 299, 300];
        string[] memory prices = new string[](12);
        for (uint256 i = 0; i < 12; ++i) {
            uint256 time = START + afterStart[i];
            string[] memory price = new string[](2);
            price[0] = _number("time", time);
            price[1] = _text("destinationAmount", vm.toString(sourceFactory.destinationAmountAt(order.price, time)));
            prices[i] = _object(price);
        }
        return _list(prices);
    }

    /// The source escrow if the first actor takes the order 77 seconds after its start.
    function _escrowJson(Order memory order, bytes32 digest) private view returns (string memory) {
        Immutables memory immutables = Immutables({
            orderHash: digest,
            hashlock: order.hashlockInfo,
            maker: order.maker,
            taker: taker,
            token: order.sourceToken,
            amount: order.sourceAmount,
            safetyDeposit: order.deposits.source,
            // The stages of the documented worked example.
            timelocks: ((START + 77) << 224) | 0xfa000000640000000c000001a40000012c000000780000000a,
            parameters: new bytes(128)
        });
        string[] memory members = new string[](7);
        members[0] = _text("taker", vm.toString(taker));
        members[1] = _number("deployedAt", START + 77);
        members[2] = _text("timelocks", vm.toString(bytes32(immutables.timelocks)));
        members[3] = _text("parameters", vm.toString(immutables.parameters));
        members[4] = _text("immutablesHash", vm.toString(sourceFactory.hashImmutables(immutables)));
        members[5] = _text("implementation", vm.toString(sourceFactory.sourceImplementation()));
        members[6] = _text("address", vm.toString(sourceFactory.sourceEscrowAddress(immutables)));
        return _object(members);
    }

    function _text(string memory key, string memory value) private pure returns (string memory) {
        return string.concat('"', key, '": "', value, '"');
    }

    function _number(string memory key, uint256 value) private pure returns (string memory) {
        return _raw(key, vm.toString(value));
    }

    function _raw(string memory key, string memory value) private pure returns (string memory) {
        return string.concat('"', key, '": ', value);
    }

    function _object(string[] memory members) private pure returns (string memory) {
        return string.concat("{", _join(members), "}");
    }

    function _list(string[] memory items) private pure returns (string memory) {
        return string.concat("[", _join(items), "]");
    }

    function _join(string[] memory parts) private pure returns (string memory joined) {
        for (uint256 i = 0; i < parts.length; ++i) {
            joined = string.concat(joined, i == 0 ? "" : ",\n", parts[i]);
        }
    }
}
