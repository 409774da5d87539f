// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {vm} from "../kit/Vm.sol";
import {World} from "./World.sol";

/// @notice Laws that hold after any sequence of calls by anybody, on two chains with clocks of their own.
abstract contract SwapInvariants {
    World internal world;

    /// forge asks which contracts it may call.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(world);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// forge asks which of their functions it may call.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = World.step.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector({addr: address(world), selectors: selectors});
    }

    /// No call moves more than was locked, no approval alone moves anything: every balance is what the model says,
    /// every open escrow is covered, and the only losses are the listed ones.
    function invariant_swap__anySequenceOfCalls__keepsEveryLaw() external view {
        world.checkBalances();
        world.checkEscrows();
        world.checkLosses();
    }

    /// At the end of every path each token is with exactly one rightful side.
    function afterInvariant() external {
        world.finish();
    }
}

/// @notice Clocks that differ by at most ten seconds, which honest takers allow for: no honest actor ever loses.
contract SwapOnCloseClocksTest is SwapInvariants {
    function setUp() external {
        world = new World(10);
    }
}

/// @notice Clocks that drift minutes apart: an honest taker can lose to a reveal after its own deadline, an honest
/// maker still cannot.
contract SwapOnDriftingClocksTest is SwapInvariants {
    function setUp() external {
        world = new World(400);
    }
}

/// @notice Whether random paths reach anything: laws that are never put to the test would hold for any contract.
contract SwapPathsTest {
    function test_world__randomPaths__reachEveryOutcome() external {
        uint256 reached;
        string[12] memory calls = [
            "take done",
            "take refused",
            "answer done",
            "answer refused",
            "act on source done",
            "act on source refused",
            "act on destination done",
            "act on destination refused",
            "rescue done",
            "rescue refused",
            "invalidate done",
            "invalidate refused"
        ];
        uint256[12] memory counts;
        for (uint256 path = 0; path < 40; ++path) {
            World world = new World(path % 2 == 0 ? 10 : 400);
            for (uint256 i = 0; i < 100; ++i) {
                world.step(path * 1000 + i);
            }
            for (uint256 i = 0; i < 12; ++i) {
                counts[i] += world.countOf(calls[i]);
            }
            world.finish();
            reached |= world.outcomes();
        }
        for (uint256 i = 0; i < 12; ++i) {
            vm.assertGe(counts[i], 5, calls[i]);
        }
        vm.assertEq(reached, 255, "outcomes reached");
    }
}
