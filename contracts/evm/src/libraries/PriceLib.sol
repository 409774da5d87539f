// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {PriceCurve} from "../Types.sol";

/// @title Price of a Dutch auction
/// @notice The destination amount falls from `endAmount` plus the initial bump to `endAmount`, along straight lines
/// between points, by the source chain's time.
library PriceLib {
    /// @notice A bump of 100 %.
    uint256 internal constant BUMP_ONE = 10_000_000;

    /// @notice Premium over the end amount at a time.
    /// @param curve the price curve
    /// @param time Unix seconds; before the start the initial bump holds
    /// @return premium in 1/10,000,000, rounded down inside a segment (who takes gains less than one part)
    function rateBump(PriceCurve calldata curve, uint256 time) internal pure returns (uint256) {
        uint256 previousTime = curve.startTime;
        uint256 finish = previousTime + curve.duration;
        if (time >= finish) return 0;
        uint256 previousBump = curve.initialRateBump;
        if (time <= previousTime) return previousBump;

        uint256 count = curve.points.length;
        for (uint256 i = 0; i < count; ++i) {
            uint256 nextTime = previousTime + curve.points[i].delay;
            uint256 nextBump = curve.points[i].rateBump;
            // time > previousTime here, so a segment without length is never divided by.
            if (time <= nextTime) {
                return ((time - previousTime) * nextBump + (nextTime - time) * previousBump) / (nextTime - previousTime);
            }
            previousTime = nextTime;
            previousBump = nextBump;
        }
        return (finish - time) * previousBump / (finish - previousTime);
    }

    /// @notice Amount that a taker owes the maker at a time.
    /// @param curve the price curve
    /// @param time Unix seconds
    /// @return smallest unit of the destination token, rounded up: the maker gains
    function destinationAmount(PriceCurve calldata curve, uint256 time) internal pure returns (uint256) {
        return Math.mulDiv(curve.endAmount, BUMP_ONE + rateBump(curve, time), BUMP_ONE, Math.Rounding.Ceil);
    }
}
