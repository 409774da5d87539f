// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

/// @title Many calls in one, for local chains
/// @notice Has the interface of Multicall3's `aggregate3` and stands at its address on chains of a devnet, where nobody
/// has deployed Multicall3. Holds no value and no state: there is nothing to stop, and nobody can.
contract DemoMulticall {
    /// @notice One call.
    /// @param target who is called
    /// @param allowFailure whether the others go on when it fails
    /// @param callData what is called
    struct Call3 {
        address target;
        bool allowFailure;
        bytes callData;
    }

    /// @notice What a call gave.
    /// @param success whether it did not revert
    /// @param returnData its result, or its revert data
    struct Result {
        bool success;
        bytes returnData;
    }

    /// @notice A call failed that was not allowed to.
    error CallFailed(uint256 index);

    /// @notice Makes all calls in order, and gives their results in the same order.
    /// @param calls what to call
    function aggregate3(Call3[] calldata calls) external payable returns (Result[] memory results) {
        results = new Result[](calls.length);
        for (uint256 index = 0; index < calls.length; ++index) {
            Call3 calldata one = calls[index];
            (bool success, bytes memory returnData) = one.target.call(one.callData);
            if (!success && !one.allowFailure) revert CallFailed(index);
            results[index] = Result(success, returnData);
        }
    }
}
