// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {Deposits, Destination, Order, PriceCurve, PricePoint, TimeLocks} from "../Types.sol";

/// @title Hash of an order
/// @notice EIP-712 struct hash of `Order` and its members. The domain is the factory's business.
library OrderLib {
    string private constant DEPOSITS = "Deposits(uint256 source,uint256 destination)";
    string private constant DESTINATION = "Destination(string chain,bytes factory,bytes token,bytes receiver)";
    string private constant PRICE_CURVE =
        "PriceCurve(uint64 startTime,uint32 duration,uint256 endAmount,uint32 initialRateBump,PricePoint[] points)";
    string private constant PRICE_POINT = "PricePoint(uint32 rateBump,uint32 delay)";
    string private constant TIME_LOCKS = "TimeLocks(uint32 sourceWithdrawal,uint32 sourcePublicWithdrawal,uint32 sourceCancellation,"
        "uint32 sourcePublicCancellation,uint32 destinationWithdrawal,uint32 destinationPublicWithdrawal,uint32 destinationCancellation)";
    string private constant ORDER = "Order(address maker,address sourceToken,uint256 sourceAmount,Destination destination,PriceCurve price,"
        "Deposits deposits,TimeLocks timeLocks,bytes32 hashlockInfo,address[] allowedTakers,uint256 nonce,uint64 expiry,bytes32 extensionHash)";

    bytes32 internal constant DEPOSITS_TYPEHASH = keccak256(bytes(DEPOSITS));
    bytes32 internal constant DESTINATION_TYPEHASH = keccak256(bytes(DESTINATION));
    bytes32 internal constant PRICE_CURVE_TYPEHASH = keccak256(abi.encodePacked(PRICE_CURVE, PRICE_POINT));
    bytes32 internal constant PRICE_POINT_TYPEHASH = keccak256(bytes(PRICE_POINT));
    bytes32 internal constant TIME_LOCKS_TYPEHASH = keccak256(bytes(TIME_LOCKS));
    bytes32 internal constant ORDER_TYPEHASH =
        keccak256(abi.encodePacked(ORDER, DEPOSITS, DESTINATION, PRICE_CURVE, PRICE_POINT, TIME_LOCKS));

    /// @notice EIP-712 struct hash of an order.
    /// @param order the order
    /// @return struct hash, to be joined with the factory's domain
    function structHash(Order calldata order) internal pure returns (bytes32) {
        // Twelve members and the type hash, in two halves because of the stack.
        bytes memory head = abi.encode(
            ORDER_TYPEHASH,
            order.maker,
            order.sourceToken,
            order.sourceAmount,
            _hashDestination(order.destination),
            _hashPriceCurve(order.price),
            _hashDeposits(order.deposits)
        );
        bytes memory tail = abi.encode(
            _hashTimeLocks(order.timeLocks),
            order.hashlockInfo,
            keccak256(abi.encodePacked(order.allowedTakers)),
            order.nonce,
            order.expiry,
            order.extensionHash
        );
        return keccak256(bytes.concat(head, tail));
    }

    function _hashDestination(Destination calldata destination) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                DESTINATION_TYPEHASH,
                keccak256(bytes(destination.chain)),
                keccak256(destination.factory),
                keccak256(destination.token),
                keccak256(destination.receiver)
            )
        );
    }

    function _hashPriceCurve(PriceCurve calldata price) private pure returns (bytes32) {
        uint256 count = price.points.length;
        bytes32[] memory points = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            PricePoint calldata point = price.points[i];
            points[i] = keccak256(abi.encode(PRICE_POINT_TYPEHASH, point.rateBump, point.delay));
        }
        return keccak256(
            abi.encode(
                PRICE_CURVE_TYPEHASH,
                price.startTime,
                price.duration,
                price.endAmount,
                price.initialRateBump,
                keccak256(abi.encodePacked(points))
            )
        );
    }

    function _hashDeposits(Deposits calldata deposits) private pure returns (bytes32) {
        return keccak256(abi.encode(DEPOSITS_TYPEHASH, deposits.source, deposits.destination));
    }

    function _hashTimeLocks(TimeLocks calldata locks) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                TIME_LOCKS_TYPEHASH,
                locks.sourceWithdrawal,
                locks.sourcePublicWithdrawal,
                locks.sourceCancellation,
                locks.sourcePublicCancellation,
                locks.destinationWithdrawal,
                locks.destinationPublicWithdrawal,
                locks.destinationCancellation
            )
        );
    }
}
