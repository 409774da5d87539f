// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {DestinationEscrow} from "./DestinationEscrow.sol";
import {ImmutablesLib} from "./libraries/ImmutablesLib.sol";
import {OrderLib} from "./libraries/OrderLib.sol";
import {PriceLib} from "./libraries/PriceLib.sol";
import {TimeLocksLib} from "./libraries/TimeLocksLib.sol";
import {SourceEscrow} from "./SourceEscrow.sol";
import {DestinationTerms, Immutables, Order, PriceCurve, TimeLocks} from "./Types.sol";

/// @title Factory of both escrows of a swap
/// @notice The only contract that a maker or a taker approves. It moves a maker's tokens only into a source escrow,
/// against an order which that maker signed, and a taker's tokens only into a destination escrow which that taker
/// creates itself. It never holds tokens or coins.
/// How it is stopped: its owner can pause the creation of both kinds of escrows (new risk). Nobody can stop, delay or
/// redirect what an existing escrow pays, and makers can invalidate their orders while it is paused. The owner has no
/// other power; ownership moves in two steps.
contract EscrowFactory is EIP712, Ownable2Step, Pausable, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using TimeLocksLib for uint256;

    /// @notice An order is filled as a whole, once: its only fill has this index.
    uint256 public constant WHOLE_FILL = 0;

    uint256 private constant PERMIT_LENGTH = 160;

    /// @notice Code of all source escrows of this factory.
    address public immutable sourceImplementation;

    /// @notice Code of all destination escrows of this factory.
    address public immutable destinationImplementation;

    /// @notice Least length of each window of an escrow, the first (finality lock) included, in seconds.
    uint32 public immutable minimumWindow;

    /// @notice Source escrow of a fill, or zero. The identity of a fill is (order hash, fill index); once consumed it
    /// stays consumed, also after the escrow was cancelled.
    mapping(bytes32 orderHash => mapping(uint256 fillIndex => address escrow)) public escrowOf;

    /// @notice Whether a maker's hashlock was ever used here.
    mapping(address maker => mapping(bytes32 hashlock => bool used)) public isHashlockUsed;

    mapping(address maker => mapping(uint256 word => uint256 bits)) private _usedNonces;

    /// @notice A maker's tokens were locked.
    /// @param orderHash EIP-712 digest of the order
    /// @param maker who signed the order
    /// @param taker who took it
    /// @param escrow the new source escrow
    /// @param fillIndex which fill of the order
    /// @param immutables of the source escrow
    /// @param terms what the destination escrow must match
    event SourceEscrowCreated(
        bytes32 indexed orderHash,
        address indexed maker,
        address indexed taker,
        address escrow,
        uint256 fillIndex,
        Immutables immutables,
        DestinationTerms terms
    );

    /// @notice A taker's tokens were locked. Anyone can make this event appear with any order hash: only an escrow
    /// that matches the source factory's terms and taker in every field counts.
    /// @param orderHash EIP-712 digest of the order that the taker claims to fill
    /// @param hashlock keccak256 of the secret
    /// @param taker who locked the tokens
    /// @param escrow the new destination escrow
    /// @param immutables of the destination escrow
    event DestinationEscrowCreated(
        bytes32 indexed orderHash,
        bytes32 indexed hashlock,
        address indexed taker,
        address escrow,
        Immutables immutables
    );

    /// @notice A maker ended all its orders with this nonce.
    /// @param maker the maker
    /// @param nonce the nonce
    event NonceInvalidated(address indexed maker, uint256 nonce);

    /// @notice The factory's smallest window must be at least one second.
    error InvalidMinimumWindow();

    /// @notice The order commits to a kind of order that this factory does not know.
    error UnsupportedExtension(bytes32 extensionHash);

    /// @notice The order's auction starts later (Unix seconds).
    error OrderNotStarted(uint256 startsAt, uint256 time);

    /// @notice The order can no longer be taken (Unix seconds).
    error OrderExpired(uint256 expiredAt, uint256 time);

    /// @notice The order names its takers and this is none of them.
    error TakerNotAllowed(address taker);

    /// @notice The signature over the order is not the maker's.
    error InvalidSignature();

    /// @notice The nonce was invalidated, or used by a fill.
    error NonceAlreadyUsed(address maker, uint256 nonce);

    /// @notice The fill was consumed before.
    error FillAlreadyUsed(bytes32 orderHash, uint256 fillIndex);

    /// @notice The hashlock was used before by this maker.
    error HashlockAlreadyUsed(address maker, bytes32 hashlock);

    /// @notice A hashlock must not be zero.
    error InvalidHashlock();

    /// @notice An amount must not be zero.
    error InvalidAmount();

    /// @notice A receiver must not be the zero address.
    error InvalidReceiver();

    /// @notice The windows are not in order, shorter than the smallest window, or the destination could be withdrawn
    /// when the source can be cancelled already.
    error InvalidTimeLocks();

    /// @notice The native coin sent with the call is not the safety deposit.
    error InvalidSafetyDeposit(uint256 sent, uint256 expected);

    /// @notice A permit must be empty or (value, deadline, v, r, s): 160 bytes.
    error MalformedPermit(uint256 length);

    /// @notice The escrow received another amount than was sent, as with a token that takes a fee.
    error InexactTransfer(uint256 received, uint256 expected);

    /// @notice The caller is not the taker that the immutables name.
    error OnlyTaker(address caller, address taker);

    /// @notice The parameters of an escrow must be those of an escrow without fees.
    error InvalidParameters();

    /// @notice The same destination escrow was created in this block already.
    error EscrowAlreadyExists(address escrow);

    /// @notice The destination escrow could still be withdrawn when the source escrow can be cancelled (Unix seconds).
    error DestinationCancelsTooLate(uint256 destinationCancellationAt, uint256 sourceCancellationAt);

    /// @notice Deploys the code of both escrows.
    /// @param initialOwner who may pause
    /// @param minimumWindow_ least length of each window, seconds, at least 1
    /// @param rescueDelay_ seconds after creation from which an escrow's `rescueFunds` is open
    constructor(address initialOwner, uint32 minimumWindow_, uint32 rescueDelay_)
        EIP712("Lockstep", "1")
        Ownable(initialOwner)
    {
        if (minimumWindow_ == 0) revert InvalidMinimumWindow();
        minimumWindow = minimumWindow_;
        sourceImplementation = address(new SourceEscrow(rescueDelay_));
        destinationImplementation = address(new DestinationEscrow(rescueDelay_));
    }

    /// @notice Takes an order: locks the maker's tokens in a new source escrow. The taker (the caller) pays the safety
    /// deposit; the price is the one of this block. Open to the order's allowed takers, in [start, expiry).
    /// How it is stopped: by the owner's pause; for one order, by its maker through `invalidateNonce`.
    /// @param order what the maker signed
    /// @param signature the maker's, over the order: 65 bytes with a low s, or whatever the maker's contract accepts
    /// (EIP-1271)
    /// @param permit empty, or an EIP-2612 permit of the maker for this factory as (value, deadline, v, r, s); it may
    /// fail (somebody may have used it before) as long as the allowance suffices
    /// @return escrow the new escrow
    function createSource(Order calldata order, bytes calldata signature, bytes calldata permit)
        external
        payable
        whenNotPaused
        nonReentrant
        returns (address escrow)
    {
        bytes32 orderHash = hashOrder(order);
        _checkOrder(order, orderHash, signature);

        Immutables memory immutables = _sourceImmutables(order, orderHash);
        bytes32 salt = ImmutablesLib.hash(immutables);
        escrow = Clones.predictDeterministicAddress(sourceImplementation, salt);

        _consume(order, orderHash, escrow);
        _announceSource(order, escrow, immutables);

        Clones.cloneDeterministic(sourceImplementation, salt, msg.value);
        _tryPermit(order.sourceToken, order.maker, permit);
        _pull(IERC20(order.sourceToken), order.maker, escrow, order.sourceAmount);
    }

    /// @notice Locks the caller's tokens in a new destination escrow. Anyone, for itself as the taker.
    /// How it is stopped: by the owner's pause.
    /// @param immutables of the escrow: `maker` is the receiver, `taker` the caller; the time of creation in
    /// `timelocks` is replaced by this block's
    /// @param sourceCancellationAt when the source escrow's cancellation opens (Unix seconds of the source chain); the
    /// caller's claim, checked against the source chain by whoever releases the secret
    /// @return escrow the new escrow
    function createDestination(Immutables calldata immutables, uint64 sourceCancellationAt)
        external
        payable
        whenNotPaused
        nonReentrant
        returns (address escrow)
    {
        if (msg.sender != immutables.taker) revert OnlyTaker(msg.sender, immutables.taker);
        if (msg.value != immutables.safetyDeposit) revert InvalidSafetyDeposit(msg.value, immutables.safetyDeposit);
        if (immutables.hashlock == bytes32(0)) revert InvalidHashlock();
        if (immutables.maker == address(0)) revert InvalidReceiver();
        if (immutables.amount == 0) revert InvalidAmount();
        if (!ImmutablesLib.isWithoutFees(immutables.parameters)) revert InvalidParameters();

        Immutables memory locked = immutables;
        locked.timelocks = immutables.timelocks.withDeployedAt(block.timestamp);
        _checkDestinationWindows(locked.timelocks);
        uint256 cancellationAt = locked.timelocks.startOf(TimeLocksLib.Stage.DestinationCancellation);
        if (cancellationAt > sourceCancellationAt) {
            revert DestinationCancelsTooLate(cancellationAt, sourceCancellationAt);
        }

        bytes32 salt = ImmutablesLib.hash(locked);
        escrow = Clones.predictDeterministicAddress(destinationImplementation, salt);
        // A failed creation would burn all gas.
        if (escrow.code.length != 0) revert EscrowAlreadyExists(escrow);
        emit DestinationEscrowCreated(locked.orderHash, locked.hashlock, msg.sender, escrow, locked);

        Clones.cloneDeterministic(destinationImplementation, salt, msg.value);
        _pull(IERC20(locked.token), msg.sender, escrow, locked.amount);
    }

    /// @notice Ends all orders of the caller with this nonce that were not taken yet: the on-chain cancellation.
    /// Reverts when the nonce is used already, so that a maker learns that a fill came first.
    /// How it is stopped: by nobody.
    /// @param nonce the nonce
    function invalidateNonce(uint256 nonce) external {
        _useNonce(msg.sender, nonce);
        emit NonceInvalidated(msg.sender, nonce);
    }

    /// @notice Stops the creation of escrows on both sides. The owner only. Existing escrows are not touched.
    function pause() external onlyOwner {
        _pause();
    }

    /// @notice Allows the creation of escrows again. The owner only.
    function unpause() external onlyOwner {
        _unpause();
    }

    /// @notice Whether a nonce was invalidated by its maker or used by a fill; `escrowOf` tells the two apart.
    /// @param maker the maker
    /// @param nonce the nonce
    function isNonceUsed(address maker, uint256 nonce) external view returns (bool) {
        return _usedNonces[maker][nonce >> 8] & (1 << (nonce & 0xff)) != 0;
    }

    /// @notice Amount that a taker would owe at a time.
    /// @param price the price curve
    /// @param time Unix seconds
    /// @return smallest unit of the destination token, rounded up
    function destinationAmountAt(PriceCurve calldata price, uint256 time) external pure returns (uint256) {
        return PriceLib.destinationAmount(price, time);
    }

    /// @notice Hash of immutables: the salt of an escrow's address.
    /// @param immutables the immutables
    function hashImmutables(Immutables calldata immutables) external pure returns (bytes32) {
        return ImmutablesLib.hash(immutables);
    }

    /// @notice Address of the source escrow with these immutables, created or not.
    /// @param immutables the immutables, time of creation included
    function sourceEscrowAddress(Immutables calldata immutables) external view returns (address) {
        return Clones.predictDeterministicAddress(sourceImplementation, ImmutablesLib.hash(immutables));
    }

    /// @notice Address of the destination escrow with these immutables, created or not.
    /// @param immutables the immutables, time of creation included
    function destinationEscrowAddress(Immutables calldata immutables) external view returns (address) {
        return Clones.predictDeterministicAddress(destinationImplementation, ImmutablesLib.hash(immutables));
    }

    /// @notice EIP-712 digest of an order in this factory's domain: what a maker signs, and the order's identity.
    /// @param order the order
    function hashOrder(Order calldata order) public view returns (bytes32) {
        return _hashTypedDataV4(OrderLib.structHash(order));
    }

    function _checkOrder(Order calldata order, bytes32 orderHash, bytes calldata signature) private view {
        if (order.extensionHash != bytes32(0)) revert UnsupportedExtension(order.extensionHash);
        if (block.timestamp < order.price.startTime) revert OrderNotStarted(order.price.startTime, block.timestamp);
        if (block.timestamp >= order.expiry) revert OrderExpired(order.expiry, block.timestamp);
        if (!_isAllowed(order.allowedTakers, msg.sender)) revert TakerNotAllowed(msg.sender);
        if (order.sourceAmount == 0 || order.price.endAmount == 0) revert InvalidAmount();
        if (order.hashlockInfo == bytes32(0)) revert InvalidHashlock();
        if (msg.value < order.deposits.source) revert InvalidSafetyDeposit(msg.value, order.deposits.source);
        _checkWindows(order.timeLocks);
        if (!SignatureChecker.isValidSignatureNowCalldata(order.maker, orderHash, signature)) {
            revert InvalidSignature();
        }
    }

    function _isAllowed(address[] calldata takers, address taker) private pure returns (bool) {
        uint256 count = takers.length;
        for (uint256 i = 0; i < count; ++i) {
            if (takers[i] == taker) return true;
        }
        return count == 0;
    }

    /// The destination is always created later: with a cancellation at or after the source's no valid escrow could follow.
    function _checkWindows(TimeLocks calldata locks) private view {
        uint256 word = TimeLocksLib.pack(locks);
        _checkWindow(0, locks.sourceWithdrawal);
        _checkWindow(locks.sourceWithdrawal, locks.sourcePublicWithdrawal);
        _checkWindow(locks.sourcePublicWithdrawal, locks.sourceCancellation);
        _checkWindow(locks.sourceCancellation, locks.sourcePublicCancellation);
        _checkDestinationWindows(word);
        if (locks.destinationCancellation >= locks.sourceCancellation) revert InvalidTimeLocks();
    }

    function _checkDestinationWindows(uint256 word) private view {
        uint256 withdrawal = word.delayOf(TimeLocksLib.Stage.DestinationWithdrawal);
        uint256 publicWithdrawal = word.delayOf(TimeLocksLib.Stage.DestinationPublicWithdrawal);
        _checkWindow(0, withdrawal);
        _checkWindow(withdrawal, publicWithdrawal);
        _checkWindow(publicWithdrawal, word.delayOf(TimeLocksLib.Stage.DestinationCancellation));
    }

    function _checkWindow(uint256 opens, uint256 closes) private view {
        if (closes < opens + minimumWindow) revert InvalidTimeLocks();
    }

    function _sourceImmutables(Order calldata order, bytes32 orderHash) private view returns (Immutables memory) {
        return Immutables({
            orderHash: orderHash,
            hashlock: order.hashlockInfo,
            maker: order.maker,
            taker: msg.sender,
            token: order.sourceToken,
            amount: order.sourceAmount,
            safetyDeposit: msg.value,
            timelocks: TimeLocksLib.pack(order.timeLocks).withDeployedAt(block.timestamp),
            parameters: ImmutablesLib.noFees()
        });
    }

    function _announceSource(Order calldata order, address escrow, Immutables memory immutables) private {
        DestinationTerms memory terms = _termsOf(order);
        emit SourceEscrowCreated(
            immutables.orderHash, immutables.maker, immutables.taker, escrow, WHOLE_FILL, immutables, terms
        );
    }

    function _termsOf(Order calldata order) private view returns (DestinationTerms memory) {
        return DestinationTerms({
            chain: order.destination.chain,
            factory: order.destination.factory,
            token: order.destination.token,
            receiver: order.destination.receiver,
            amount: PriceLib.destinationAmount(order.price, block.timestamp),
            safetyDeposit: order.deposits.destination
        });
    }

    /// The nonce is used up as well, so that of two orders with one nonce only one can ever be filled.
    function _consume(Order calldata order, bytes32 orderHash, address escrow) private {
        if (escrowOf[orderHash][WHOLE_FILL] != address(0)) revert FillAlreadyUsed(orderHash, WHOLE_FILL);
        escrowOf[orderHash][WHOLE_FILL] = escrow;
        if (isHashlockUsed[order.maker][order.hashlockInfo]) {
            revert HashlockAlreadyUsed(order.maker, order.hashlockInfo);
        }
        isHashlockUsed[order.maker][order.hashlockInfo] = true;
        _useNonce(order.maker, order.nonce);
    }

    function _useNonce(address maker, uint256 nonce) private {
        uint256 bit = 1 << (nonce & 0xff);
        uint256 bits = _usedNonces[maker][nonce >> 8];
        if (bits & bit != 0) revert NonceAlreadyUsed(maker, nonce);
        _usedNonces[maker][nonce >> 8] = bits | bit;
    }

    /// A failed permit is not an error by itself: the transfer that follows shows whether the allowance suffices.
    function _tryPermit(address token, address owner, bytes calldata permit) private {
        if (permit.length == 0) return;
        if (permit.length != PERMIT_LENGTH) revert MalformedPermit(permit.length);
        (uint256 value, uint256 deadline, uint256 v, bytes32 r, bytes32 s) =
            abi.decode(permit, (uint256, uint256, uint256, bytes32, bytes32));
        if (v > type(uint8).max) return;
        try IERC20Permit(token).permit(owner, address(this), value, deadline, uint8(v), r, s) {} catch {}
    }

    /// The escrow must receive exactly the amount: it pays that amount out once, to one side.
    function _pull(IERC20 token, address from, address escrow, uint256 amount) private {
        uint256 before = token.balanceOf(escrow);
        token.safeTransferFrom(from, escrow, amount);
        uint256 received = token.balanceOf(escrow) - before;
        if (received != amount) revert InexactTransfer(received, amount);
    }
}
