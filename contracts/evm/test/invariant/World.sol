// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.35;

import {BaseEscrow} from "../../src/BaseEscrow.sol";
import {DemoToken} from "../../src/DemoToken.sol";
import {DestinationEscrow} from "../../src/DestinationEscrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {SourceEscrow} from "../../src/SourceEscrow.sol";
import {Immutables, Order, PricePoint, TimeLocks} from "../../src/Types.sol";
import {vm} from "../kit/Vm.sol";

/// @notice Two chains with a clock each, their actors, and a model of what every call must do. The model knows the
/// window table and balances, but none of the contracts' code; after each call, outcome and balances must agree.
///
/// Actors: an honest and a hostile maker, an honest and a hostile taker, a stranger, and a watcher that performs the
/// public duties for honest makers. Honest actors keep to the rules of the swap; the others do anything at any time.
contract World {
    enum Action {
        Withdraw,
        WithdrawTo,
        PublicWithdraw,
        Cancel,
        PublicCancel
    }

    /// One escrow, as the model sees it.
    struct Lock {
        address escrow;
        bool onSource;
        uint256 swap;
        BaseEscrow.State state;
        uint256 createdAt;
        TimeLocks locks;
        Immutables immutables;
    }

    struct Swap {
        bool honestMaker;
        bool honestTaker;
        bytes32 secret;
        uint256 nonce;
        uint256 sourceLock;
        uint256 destinationLock; // Index + 1 of the escrow that matches the terms; 0: none yet.
        uint256 destinationAmount;
        uint256 sourceCancellationAt;
        bool released; // The maker's client gave the secret to the taker, by the rules.
        bool leaked; // Somebody got or used the secret otherwise: only a hostile maker does that.
        bool isPublic; // The secret was used on some chain.
        bool lateReveal; // It was used on the destination when the source could be cancelled already.
    }

    uint256 private constant SOURCE = 0;
    uint256 private constant DESTINATION = 1;
    uint256 private constant MAX_SWAPS = 8;
    uint256 private constant START = 1_700_000_000;
    uint256 private constant END_AMOUNT = 1_000_000;
    uint256 private constant INCLUSION = 5;
    uint32 private constant RESCUE_DELAY = 200;

    /// Seconds by which the chains' clocks may differ.
    uint256 public immutable skewLimit;

    EscrowFactory[2] public factories;
    DemoToken[2] public tokens;
    uint256[2] public clocks;

    uint256[2] private _makerKeys = [uint256(0xA11CE), uint256(0xBAD)];
    address[] public actors; // honest maker, hostile maker, honest taker, hostile taker, stranger, watcher
    address private immutable _owner = address(uint160(uint256(keccak256("owner"))));
    address private immutable _receiver = address(uint160(uint256(keccak256("receiver"))));

    Swap[] private _swaps;
    Lock[] private _locks;
    bool private _paused;
    uint256 private _counter;
    mapping(uint256 chain => mapping(address account => uint256)) private _tokenModel;
    mapping(address account => uint256) private _coinModel;
    mapping(uint256 makerIndex => mapping(uint256 nonce => bool)) private _nonceModel;
    mapping(bytes32 name => uint256) private _seen;

    constructor(uint256 skewLimit_) {
        skewLimit = skewLimit_;
        clocks = [START, START + 3];
        for (uint256 chain = 0; chain < 2; ++chain) {
            factories[chain] = new EscrowFactory(_owner, 5, RESCUE_DELAY);
            tokens[chain] = new DemoToken("Token", "T", 18);
        }
        actors = [
            vm.addr(_makerKeys[0]),
            vm.addr(_makerKeys[1]),
            address(uint160(uint256(keccak256("honest taker")))),
            address(uint160(uint256(keccak256("hostile taker")))),
            address(uint160(uint256(keccak256("stranger")))),
            address(uint160(uint256(keccak256("watcher"))))
        ];
        // Everybody holds both tokens and approved both factories: an approval alone must move nothing.
        for (uint256 i = 0; i < actors.length; ++i) {
            vm.deal(actors[i], 1000 ether);
            _coinModel[actors[i]] = 1000 ether;
            for (uint256 chain = 0; chain < 2; ++chain) {
                tokens[chain].mint(actors[i], 1e30);
                _tokenModel[chain][actors[i]] = 1e30;
                vm.prank(actors[i]);
                tokens[chain].approve(address(factories[chain]), type(uint256).max);
            }
        }
    }

    /// What the fuzzer calls: one step of somebody. The seed is spread first, because fuzzers like round numbers.
    function step(uint256 seed) external {
        uint256 a = uint256(keccak256(abi.encode(seed, "a")));
        uint256 b = uint256(keccak256(abi.encode(seed, "b")));
        uint256 c = uint256(keccak256(abi.encode(seed, "c")));
        uint256 kind = a % 100;
        a >>= 8;
        if (kind < 10) _take(a, b % 16);
        else if (kind < 25) _answer(a, b % 10);
        else if (kind < 40) _release(a, b);
        else if (kind < 74) _actSomehow(a, b, c);
        else if (kind < 83) _tick(a % 60, b, c);
        else if (kind < 88) _donate(a, b % 1000, c % 3);
        else if (kind < 94) _rescueSomehow(a, b, c);
        else if (kind < 96) _invalidate(a & 1, b);
        else if (kind < 97) _pause(b);
        else _steal(a, b);
    }

    // The steps.

    /// A taker takes an order, rightly or in one of several wrong ways.
    function _take(uint256 seed, uint256 wrong) private {
        if (_swaps.length >= MAX_SWAPS) return;
        Swap memory swap;
        uint256 makerIndex = seed & 1;
        swap.honestMaker = makerIndex == 0;
        swap.honestTaker = seed & 2 == 0;
        swap.nonce = _counter++;
        swap.secret = keccak256(abi.encode("secret", swap.nonce));
        if (wrong == 0 && _swaps.length > 0) swap.nonce = _swaps[seed % _swaps.length].nonce;
        if (wrong == 1 && _swaps.length > 0) swap.secret = _swaps[seed % _swaps.length].secret;
        Order memory order = _makeOrder(swap, makerIndex, seed >> 8);
        address taker = actors[swap.honestTaker ? 2 : 3];
        uint256 key = _makerKeys[makerIndex];
        if (wrong == 2) key = 0xE7E;
        if (wrong == 3) order.allowedTakers = _only(actors[4]);
        if (wrong == 4) order.price.startTime = uint64(clocks[SOURCE] + 1);
        if (wrong == 5) order.expiry = uint64(clocks[SOURCE]);

        bool expected = !_paused && (wrong < 2 || wrong > 5) && !_nonceModel[makerIndex][swap.nonce];
        expected = expected && !_isHashlockKnown(swap);
        bytes memory data = abi.encodeCall(EscrowFactory.createSource, (order, _sign(order, key), ""));
        if (!_attempt(SOURCE, taker, address(factories[SOURCE]), order.deposits.source, data, expected, "take")) {
            return;
        }

        _nonceModel[makerIndex][swap.nonce] = true;
        swap.sourceLock = _locks.length;
        swap.destinationAmount = factories[SOURCE].destinationAmountAt(order.price, clocks[SOURCE]);
        swap.sourceCancellationAt = clocks[SOURCE] + order.timeLocks.sourceCancellation;
        _record(order, taker, _swaps.length);
        _swaps.push(swap);
    }

    /// A destination escrow is created: by the rules, or wrong in one field, or by a stranger.
    function _answer(uint256 swapSeed, uint256 wrong) private {
        if (_swaps.length == 0) return;
        uint256 index = swapSeed % _swaps.length;
        Swap storage swap = _swaps[index];
        Lock storage source = _locks[swap.sourceLock];
        if (wrong > 4) wrong = 0;
        Immutables memory immutables = source.immutables;
        TimeLocks memory locks = source.locks;
        immutables.maker = _receiver;
        immutables.token = address(tokens[DESTINATION]);
        immutables.amount = swap.destinationAmount;
        if (wrong == 1) immutables.amount -= 1;
        if (wrong == 2) immutables.hashlock = keccak256("another hashlock");
        if (wrong == 3) immutables.taker = actors[4];
        if (wrong == 4) immutables.maker = actors[3];
        if (swap.honestTaker && wrong != 3) {
            // An honest taker answers once, rightly, and only with time enough to use the secret afterwards.
            if (wrong != 0 || swap.destinationLock != 0) return;
            uint256 margin = (skewLimit > 100 ? 0 : skewLimit) + INCLUSION;
            if (clocks[DESTINATION] + locks.destinationCancellation + margin > swap.sourceCancellationAt) return;
        }
        _lockDestination(index, immutables, locks, wrong == 0);
    }

    /// The maker's client releases the secret; a hostile maker's does so at any time.
    function _release(uint256 swapSeed, uint256 timeSeed) private {
        if (_swaps.length == 0) return;
        Swap storage swap = _swaps[swapSeed % _swaps.length];
        if (swap.destinationLock != 0 && timeSeed & 3 != 0) {
            Lock storage target = _locks[swap.destinationLock - 1];
            Lock storage origin = _locks[swap.sourceLock];
            _advanceTo(DESTINATION, target.createdAt + target.locks.destinationWithdrawal);
            _advanceTo(SOURCE, origin.createdAt + origin.locks.sourceWithdrawal);
        }
        if (_mayRelease(swap)) swap.released = true;
        else if (!swap.honestMaker) swap.leaked = true;
    }

    /// Anybody calls anything on any escrow, half of the time at a moment when a window opens or closes.
    function _actSomehow(uint256 lockSeed, uint256 actorSeed, uint256 actionSeed) private {
        if (_locks.length == 0) return;
        uint256 index = lockSeed % _locks.length;
        Action action = Action(actionSeed % 5);
        if ((actionSeed >> 8) & 3 == 0) _advanceToEdge(_locks[index], actionSeed >> 10);
        address caller = actors[actorSeed % actors.length];
        if ((actorSeed >> 8) & 1 == 0) caller = _locks[index].immutables.taker;
        _act(index, caller, action, _knows(_swaps[_locks[index].swap], caller));
    }

    /// Both chains move on; then one of them a little more than the other.
    function _tick(uint256 seconds_, uint256 chain, uint256 jitter) private {
        uint256 target = clocks[SOURCE] + seconds_;
        uint256 other = clocks[DESTINATION] + seconds_;
        if (chain & 1 == 0) target += jitter % (skewLimit + 1);
        else other += jitter % (skewLimit + 1);
        _advanceBoth(target, other);
    }

    /// Tokens or coins reach an escrow that has no use for them.
    function _donate(uint256 lockSeed, uint256 amount, uint256 kind) private {
        if (_locks.length == 0) return;
        address escrow = _locks[lockSeed % _locks.length].escrow;
        if (kind == 2) {
            vm.deal(escrow, escrow.balance + amount);
            _coinModel[escrow] += amount;
        } else {
            tokens[kind].mint(escrow, amount);
            _tokenModel[kind][escrow] += amount;
        }
    }

    /// Somebody tries to collect something from an escrow.
    function _rescueSomehow(uint256 lockSeed, uint256 actorSeed, uint256 amount) private {
        if (_locks.length == 0) return;
        uint256 index = lockSeed % _locks.length;
        address caller = (actorSeed >> 8) & 3 == 0 ? actors[actorSeed % actors.length] : _locks[index].immutables.taker;
        uint256 kind = (actorSeed >> 16) % 3;
        if ((actorSeed >> 24) & 1 == 0) _rescue(index, caller, kind, amount % 100);
        else _rescue(index, caller, kind, _locks[index].immutables.amount);
    }

    /// A maker ends an order, rightly or too late.
    function _invalidate(uint256 makerIndex, uint256 nonceSeed) private {
        uint256 nonce = nonceSeed % (_counter + 3);
        bytes memory data = abi.encodeCall(EscrowFactory.invalidateNonce, (nonce));
        bool expected = !_nonceModel[makerIndex][nonce];
        _attempt(SOURCE, actors[makerIndex], address(factories[SOURCE]), 0, data, expected, "invalidate");
        _nonceModel[makerIndex][nonce] = true;
    }

    /// The owner pauses both factories one time in four, and lets them go on otherwise.
    function _pause(uint256 seed) private {
        bool wanted = seed & 3 == 0;
        if (wanted == _paused) return;
        _paused = wanted;
        for (uint256 chain = 0; chain < 2; ++chain) {
            vm.prank(_owner);
            if (wanted) factories[chain].pause();
            else factories[chain].unpause();
        }
    }

    /// Attempts that must never work, on anybody's approval.
    function _steal(uint256 seed, uint256 kind) private {
        address victim = actors[seed % actors.length];
        address thief = actors[(seed % actors.length + 1 + (seed >> 8) % 5) % actors.length];
        if (kind & 1 == 0) {
            Swap memory swap;
            swap.secret = keccak256(abi.encode("stolen", seed));
            swap.nonce = 1000 + seed % 1000;
            Order memory order = _makeOrder(swap, 0, seed);
            order.maker = victim;
            bytes memory data = abi.encodeCall(EscrowFactory.createSource, (order, _sign(order, 0xE7E), ""));
            _attempt(SOURCE, thief, address(factories[SOURCE]), order.deposits.source, data, false, "steal");
        } else if (_locks.length > 0) {
            Immutables memory immutables = _locks[seed % _locks.length].immutables;
            immutables.taker = victim;
            immutables.maker = thief;
            immutables.token = address(tokens[DESTINATION]);
            bytes memory data = abi.encodeCall(EscrowFactory.createDestination, (immutables, type(uint64).max));
            _attempt(
                DESTINATION, thief, address(factories[DESTINATION]), immutables.safetyDeposit, data, false, "steal"
            );
        }
    }

    // What the invariants ask.

    /// Every account and every escrow has exactly what the model says; the factories have nothing.
    function checkBalances() external view {
        for (uint256 i = 0; i < actors.length; ++i) {
            _checkAccount(actors[i]);
        }
        for (uint256 i = 0; i < _locks.length; ++i) {
            _checkAccount(_locks[i].escrow);
        }
        _checkAccount(_receiver);
        _checkAccount(address(factories[SOURCE]));
        _checkAccount(address(factories[DESTINATION]));
    }

    /// Each open escrow covers its amount and its deposit, and its state is the model's.
    function checkEscrows() external view {
        for (uint256 i = 0; i < _locks.length; ++i) {
            Lock storage lock = _locks[i];
            vm.assertEq(uint256(BaseEscrow(lock.escrow).state()), uint256(lock.state), "state");
            if (lock.state != BaseEscrow.State.Open) continue;
            vm.assertGe(_tokenOf(lock).balanceOf(lock.escrow), lock.immutables.amount, "amount is covered");
            vm.assertGe(lock.escrow.balance, lock.immutables.safetyDeposit, "deposit is covered");
        }
    }

    /// The only losses are those that the rules list: a hostile maker who gave its secret away against the rules, a
    /// taker who did not use its window, a secret revealed when the source could be cancelled already.
    function checkLosses() public view {
        for (uint256 i = 0; i < _swaps.length; ++i) {
            Swap storage swap = _swaps[i];
            BaseEscrow.State source = _locks[swap.sourceLock].state;
            BaseEscrow.State destination =
                swap.destinationLock == 0 ? BaseEscrow.State.Open : _locks[swap.destinationLock - 1].state;
            if (source == BaseEscrow.State.Withdrawn && destination == BaseEscrow.State.Cancelled) {
                vm.assertTrue(!swap.honestMaker && (swap.leaked || swap.released), "a maker lost by the rules");
            }
            if (destination == BaseEscrow.State.Withdrawn && source == BaseEscrow.State.Cancelled) {
                vm.assertTrue(!swap.honestTaker || (skewLimit > 100 && swap.lateReveal), "a taker lost by the rules");
            }
            if (source == BaseEscrow.State.Withdrawn && swap.honestMaker) {
                vm.assertTrue(swap.released, "paid with a secret that was never released");
            }
        }
    }

    /// The end of every path: all windows pass, whoever may closes what is open (also under pause), takers collect
    /// what was sent by mistake. Then no escrow holds anything, and nobody but the listed losers lost.
    function finish() external {
        uint256 end = (clocks[SOURCE] > clocks[DESTINATION] ? clocks[SOURCE] : clocks[DESTINATION]) + 5000;
        _advanceBoth(end, end);
        for (uint256 i = 0; i < _locks.length; ++i) {
            Lock storage lock = _locks[i];
            if (lock.state == BaseEscrow.State.Open) {
                if (lock.onSource) _act(i, actors[4], Action.PublicCancel, false);
                else _act(i, lock.immutables.taker, Action.Cancel, false);
            }
            for (uint256 kind = 0; kind < 3; ++kind) {
                uint256 rest = kind == 2 ? _coinModel[lock.escrow] : _tokenModel[kind][lock.escrow];
                _rescue(i, lock.immutables.taker, kind, rest);
            }
            vm.assertEq(_tokenModel[0][lock.escrow] + _tokenModel[1][lock.escrow], 0, "tokens left behind");
            vm.assertEq(lock.escrow.balance, 0, "coins left behind");
        }
        for (uint256 i = 0; i < _swaps.length; ++i) {
            Swap storage swap = _swaps[i];
            bool paid =
                swap.destinationLock != 0 && _locks[swap.destinationLock - 1].state == BaseEscrow.State.Withdrawn;
            bool taken = _locks[swap.sourceLock].state == BaseEscrow.State.Withdrawn;
            if (taken && !paid) vm.assertTrue(!swap.honestMaker, "an honest maker gave without getting");
        }
        this.checkBalances();
        this.checkEscrows();
        checkLosses();
    }

    function countOf(string calldata name) external view returns (uint256) {
        return _seen[keccak256(bytes(name))];
    }

    /// Which outcomes this path has reached, as bits: so that a test can tell whether the fuzzer gets anywhere.
    function outcomes() external view returns (uint256 bits) {
        for (uint256 i = 0; i < _swaps.length; ++i) {
            Swap storage swap = _swaps[i];
            if (swap.destinationLock == 0) continue;
            bool taken = _locks[swap.sourceLock].state == BaseEscrow.State.Withdrawn;
            bool paid = _locks[swap.destinationLock - 1].state == BaseEscrow.State.Withdrawn;
            if (taken && paid) bits |= swap.honestMaker ? (swap.honestTaker ? 1 : 2) : (swap.honestTaker ? 4 : 8);
            if (!taken && !paid) bits |= 16; // Both whole.
            if (taken && !paid) bits |= 32; // A hostile maker gave its secret away.
            if (paid && !taken) bits |= swap.honestTaker ? 64 : 128; // A late reveal; a taker that missed its window.
        }
    }

    // The model.

    function _act(uint256 index, address caller, Action action, bool rightSecret) private {
        if (_call(_locks[index], caller, action, rightSecret)) _settle(_locks[index], caller, action);
    }

    function _call(Lock storage lock, address caller, Action action, bool rightSecret) private returns (bool) {
        bytes32 secret = rightSecret ? _swaps[lock.swap].secret : keccak256("a guess");
        bool opens = keccak256(abi.encode(secret)) == lock.immutables.hashlock;
        return _attempt(
            lock.onSource ? SOURCE : DESTINATION,
            caller,
            lock.escrow,
            0,
            _encode(lock, action, secret),
            _isAllowed(lock, caller, action, opens),
            lock.onSource ? "act on source" : "act on destination"
        );
    }

    /// Who gets what, by the window table.
    function _settle(Lock storage lock, address caller, Action action) private {
        bool isWithdrawal = uint256(action) < uint256(Action.Cancel);
        address target = lock.immutables.taker;
        if (isWithdrawal != lock.onSource) target = lock.immutables.maker;
        if (action == Action.WithdrawTo) target = _receiver;
        lock.state = isWithdrawal ? BaseEscrow.State.Withdrawn : BaseEscrow.State.Cancelled;
        _moveTokens(lock.onSource ? SOURCE : DESTINATION, lock.escrow, target, lock.immutables.amount);
        _moveCoins(lock.escrow, caller, lock.immutables.safetyDeposit);
        if (!isWithdrawal) return;
        Swap storage swap = _swaps[lock.swap];
        swap.isPublic = true;
        if (!swap.released) swap.leaked = true;
        if (!lock.onSource && clocks[SOURCE] >= swap.sourceCancellationAt) swap.lateReveal = true;
    }

    /// The window table.
    function _isAllowed(Lock storage lock, address caller, Action action, bool opens) private view returns (bool) {
        if (lock.state != BaseEscrow.State.Open) return false;
        uint256 time = clocks[lock.onSource ? SOURCE : DESTINATION] - lock.createdAt;
        bool isTaker = caller == lock.immutables.taker;
        TimeLocks memory locks = lock.locks;
        if (lock.onSource) {
            if (action == Action.Cancel) return isTaker && time >= locks.sourceCancellation;
            if (action == Action.PublicCancel) return time >= locks.sourcePublicCancellation;
            if (!opens || time >= locks.sourceCancellation) return false;
            if (action == Action.PublicWithdraw) return time >= locks.sourcePublicWithdrawal;
            return isTaker && time >= locks.sourceWithdrawal;
        }
        if (action == Action.Cancel) return isTaker && time >= locks.destinationCancellation;
        if (action == Action.PublicCancel || action == Action.WithdrawTo) return false;
        if (!opens || time >= locks.destinationCancellation) return false;
        if (action == Action.PublicWithdraw) return time >= locks.destinationPublicWithdrawal;
        return isTaker && time >= locks.destinationWithdrawal;
    }

    function _rescue(uint256 index, address caller, uint256 kind, uint256 amount) private {
        Lock storage lock = _locks[index];
        uint256 chain = lock.onSource ? SOURCE : DESTINATION;
        uint256 free = kind == 2 ? _coinModel[lock.escrow] : _tokenModel[kind][lock.escrow];
        if (lock.state == BaseEscrow.State.Open) {
            if (kind == 2) free -= lock.immutables.safetyDeposit;
            else if (kind == chain) free -= lock.immutables.amount;
        }
        bool expected =
            caller == lock.immutables.taker && clocks[chain] >= lock.createdAt + RESCUE_DELAY && amount <= free;
        address token = kind == 2 ? address(0) : address(tokens[kind]);
        bytes memory data = abi.encodeCall(BaseEscrow.rescueFunds, (token, amount, lock.immutables));
        if (!_attempt(chain, caller, lock.escrow, 0, data, expected, "rescue")) return;
        if (kind == 2) _moveCoins(lock.escrow, caller, amount);
        else _moveTokens(kind, lock.escrow, caller, amount);
    }

    function _mayRelease(Swap storage swap) private view returns (bool) {
        if (swap.destinationLock == 0) return false;
        Lock storage source = _locks[swap.sourceLock];
        Lock storage destination = _locks[swap.destinationLock - 1];
        if (source.state != BaseEscrow.State.Open || destination.state != BaseEscrow.State.Open) return false;
        if (clocks[SOURCE] < source.createdAt + source.locks.sourceWithdrawal) return false;
        uint256 now_ = clocks[DESTINATION];
        if (now_ < destination.createdAt + destination.locks.destinationWithdrawal) return false;
        uint256 duty = destination.createdAt + destination.locks.destinationPublicWithdrawal;
        if (duty < now_) duty = now_;
        return duty + INCLUSION < destination.createdAt + destination.locks.destinationCancellation;
    }

    function _knows(Swap storage swap, address caller) private view returns (bool) {
        if (swap.isPublic) return true;
        address taker = actors[swap.honestTaker ? 2 : 3];
        if (caller == taker) return swap.released || swap.leaked;
        if (caller == actors[0]) return swap.honestMaker && swap.released;
        return caller == actors[1] && !swap.honestMaker;
    }

    // Time. Moving a clock over a deadline first performs what honest actors do before it.

    /// To the first second of the escrow's next stage, or to the second before.
    function _advanceToEdge(Lock storage lock, uint256 seed) private {
        TimeLocks memory locks = lock.locks;
        uint32[4] memory stages = lock.onSource
            ? [
                locks.sourceWithdrawal,
                locks.sourcePublicWithdrawal,
                locks.sourceCancellation,
                locks.sourcePublicCancellation
            ]
            : [
                locks.destinationWithdrawal,
                locks.destinationPublicWithdrawal,
                locks.destinationCancellation,
                locks.destinationCancellation
            ];
        uint256 chain = lock.onSource ? SOURCE : DESTINATION;
        for (uint256 i = 0; i < 4; ++i) {
            uint256 edge = lock.createdAt + stages[i] - (seed & 1);
            if (edge > clocks[chain]) {
                _advanceTo(chain, edge);
                return;
            }
        }
    }

    function _advanceTo(uint256 chain, uint256 time) private {
        if (time <= clocks[chain]) return;
        uint256 length = time - clocks[chain];
        _advanceBoth(clocks[SOURCE] + length, clocks[DESTINATION] + length);
    }

    function _advanceBoth(uint256 source, uint256 destination) private {
        if (source > destination + skewLimit) source = destination + skewLimit;
        if (destination > source + skewLimit) destination = source + skewLimit;
        if (source < clocks[SOURCE]) source = clocks[SOURCE];
        if (destination < clocks[DESTINATION]) destination = clocks[DESTINATION];
        // In small steps, so that the clocks never differ by more than the limit on the way.
        while (clocks[SOURCE] < source || clocks[DESTINATION] < destination) {
            (uint256 chain, uint256 time, uint256 lock) = _nextDuty(source, destination);
            if (lock == type(uint256).max) {
                clocks = [source, destination];
                return;
            }
            uint256 length = time - clocks[chain];
            clocks[chain] = time;
            uint256 other = chain ^ 1;
            uint256 limit = other == SOURCE ? source : destination;
            clocks[other] = clocks[other] + length > limit ? limit : clocks[other] + length;
            Action action = chain == SOURCE ? Action.Withdraw : Action.PublicWithdraw;
            vm.assertTrue(_isAllowed(_locks[lock], _dutyOf(lock), action, true), "a duty came too late");
            _act(lock, _dutyOf(lock), action, true);
        }
    }

    function _dutyOf(uint256 lock) private view returns (address) {
        return _locks[lock].onSource ? _locks[lock].immutables.taker : actors[5];
    }

    /// The earliest duty of an honest actor whose deadline would be passed.
    function _nextDuty(uint256 source, uint256 destination)
        private
        view
        returns (uint256 chain, uint256 time, uint256 found)
    {
        found = type(uint256).max;
        uint256 soonest = type(uint256).max;
        for (uint256 i = 0; i < _swaps.length; ++i) {
            (uint256 lock, uint256 due) = _dutyIn(_swaps[i], source, destination);
            if (lock == type(uint256).max) continue;
            uint256 chain_ = _locks[lock].onSource ? SOURCE : DESTINATION;
            uint256 time_ = due < clocks[chain_] ? clocks[chain_] : due;
            if (time_ - clocks[chain_] >= soonest) continue;
            soonest = time_ - clocks[chain_];
            (chain, time, found) = (chain_, time_, lock);
        }
    }

    function _dutyIn(Swap storage swap, uint256 source, uint256 destination)
        private
        view
        returns (uint256 lock, uint256 due)
    {
        lock = type(uint256).max;
        if (swap.honestMaker && swap.released && swap.destinationLock != 0) {
            Lock storage target = _locks[swap.destinationLock - 1];
            uint256 closes = target.createdAt + target.locks.destinationCancellation;
            if (target.state == BaseEscrow.State.Open && closes <= destination) {
                return (swap.destinationLock - 1, target.createdAt + target.locks.destinationPublicWithdrawal);
            }
        }
        Lock storage origin = _locks[swap.sourceLock];
        bool wanted = swap.honestTaker && swap.isPublic && origin.state == BaseEscrow.State.Open;
        if (wanted && swap.sourceCancellationAt <= source && clocks[SOURCE] < swap.sourceCancellationAt) {
            return (swap.sourceLock, origin.createdAt + origin.locks.sourceWithdrawal);
        }
    }

    // Building blocks.

    function _attempt(
        uint256 chain,
        address caller,
        address target,
        uint256 value,
        bytes memory data,
        bool expected,
        string memory name
    ) private returns (bool success) {
        vm.warp(clocks[chain]);
        vm.prank(caller);
        bytes memory answer_;
        (success, answer_) = target.call{value: value}(data);
        if (success != expected) {
            vm.assertTrue(false, string.concat(name, ": the model expected otherwise, answer ", vm.toString(answer_)));
        }
        ++_seen[keccak256(bytes(string.concat(name, success ? " done" : " refused")))];
        return success;
    }

    function _lockDestination(uint256 index, Immutables memory immutables, TimeLocks memory locks, bool matches)
        private
    {
        Swap storage swap = _swaps[index];
        uint256 time = clocks[DESTINATION];
        immutables.timelocks = (immutables.timelocks & (type(uint256).max >> 32)) | (time << 224);
        address escrow = factories[DESTINATION].destinationEscrowAddress(immutables);
        bool expected =
            !_paused && time + locks.destinationCancellation <= swap.sourceCancellationAt && escrow.code.length == 0;
        bytes memory data =
            abi.encodeCall(EscrowFactory.createDestination, (immutables, uint64(swap.sourceCancellationAt)));
        address factory = address(factories[DESTINATION]);
        if (!_attempt(DESTINATION, immutables.taker, factory, immutables.safetyDeposit, data, expected, "answer")) {
            return;
        }
        _moveTokens(DESTINATION, immutables.taker, escrow, immutables.amount);
        _moveCoins(immutables.taker, escrow, immutables.safetyDeposit);
        _locks.push(
            Lock({
                escrow: escrow,
                onSource: false,
                swap: index,
                state: BaseEscrow.State.Open,
                createdAt: time,
                locks: locks,
                immutables: immutables
            })
        );
        if (matches && swap.destinationLock == 0) swap.destinationLock = _locks.length;
    }

    function _record(Order memory order, address taker, uint256 swap) private {
        TimeLocks memory locks = order.timeLocks;
        Immutables memory immutables = Immutables({
            orderHash: factories[SOURCE].hashOrder(order),
            hashlock: order.hashlockInfo,
            maker: order.maker,
            taker: taker,
            token: order.sourceToken,
            amount: order.sourceAmount,
            safetyDeposit: order.deposits.source,
            timelocks: _word(locks, clocks[SOURCE]),
            parameters: new bytes(128)
        });
        address escrow = factories[SOURCE].escrowOf(immutables.orderHash, 0);
        _moveTokens(SOURCE, order.maker, escrow, order.sourceAmount);
        _moveCoins(taker, escrow, order.deposits.source);
        _locks.push(
            Lock({
                escrow: escrow,
                onSource: true,
                swap: swap,
                state: BaseEscrow.State.Open,
                createdAt: clocks[SOURCE],
                locks: locks,
                immutables: immutables
            })
        );
    }

    function _makeOrder(Swap memory swap, uint256 makerIndex, uint256 seed) private view returns (Order memory order) {
        order.maker = actors[makerIndex];
        order.sourceToken = address(tokens[SOURCE]);
        order.sourceAmount = 1 + seed % 1000;
        order.destination.chain = "eip155:31338";
        order.destination.factory = abi.encodePacked(factories[DESTINATION]);
        order.destination.token = abi.encodePacked(tokens[DESTINATION]);
        order.destination.receiver = abi.encodePacked(_receiver);
        order.price.startTime = uint64(clocks[SOURCE]);
        order.price.duration = 100;
        order.price.endAmount = END_AMOUNT;
        order.price.initialRateBump = uint32(seed % 1_000_000);
        order.price.points = new PricePoint[](0);
        order.deposits.source = (seed >> 16) % 1000;
        order.timeLocks = TimeLocks({
            sourceWithdrawal: uint32(5 + (seed >> 24) % 20),
            sourcePublicWithdrawal: uint32(60 + (seed >> 32) % 60),
            sourceCancellation: uint32(240 + (seed >> 40) % 100),
            sourcePublicCancellation: uint32(400 + (seed >> 48) % 60),
            destinationWithdrawal: uint32(5 + (seed >> 56) % 20),
            destinationPublicWithdrawal: uint32(40 + (seed >> 64) % 40),
            destinationCancellation: uint32(100 + (seed >> 72) % 80)
        });
        order.hashlockInfo = keccak256(abi.encode(swap.secret));
        order.nonce = swap.nonce;
        order.expiry = uint64(clocks[SOURCE] + 1);
    }

    function _word(TimeLocks memory locks, uint256 time) private pure returns (uint256) {
        uint32[7] memory fields = [
            locks.sourceWithdrawal,
            locks.sourcePublicWithdrawal,
            locks.sourceCancellation,
            locks.sourcePublicCancellation,
            locks.destinationWithdrawal,
            locks.destinationPublicWithdrawal,
            locks.destinationCancellation
        ];
        uint256 word = time;
        for (uint256 i = 7; i > 0; --i) {
            word = (word << 32) | fields[i - 1];
        }
        return word;
    }

    function _isHashlockKnown(Swap memory swap) private view returns (bool) {
        for (uint256 i = 0; i < _swaps.length; ++i) {
            if (_swaps[i].secret == swap.secret && _swaps[i].honestMaker == swap.honestMaker) return true;
        }
        return false;
    }

    function _encode(Lock storage lock, Action action, bytes32 secret) private view returns (bytes memory) {
        Immutables memory immutables = lock.immutables;
        if (action == Action.Withdraw) return abi.encodeCall(SourceEscrow.withdraw, (secret, immutables));
        if (action == Action.WithdrawTo) {
            return abi.encodeCall(SourceEscrow.withdrawTo, (secret, _receiver, immutables));
        }
        if (action == Action.PublicWithdraw) return abi.encodeCall(SourceEscrow.publicWithdraw, (secret, immutables));
        if (action == Action.Cancel) return abi.encodeCall(DestinationEscrow.cancel, (immutables));
        return abi.encodeCall(SourceEscrow.publicCancel, (immutables));
    }

    function _sign(Order memory order, uint256 key) private view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, factories[SOURCE].hashOrder(order));
        return abi.encodePacked(r, s, v);
    }

    function _only(address account) private pure returns (address[] memory list) {
        list = new address[](1);
        list[0] = account;
    }

    function _tokenOf(Lock storage lock) private view returns (DemoToken) {
        return tokens[lock.onSource ? SOURCE : DESTINATION];
    }

    function _moveTokens(uint256 chain, address from, address to, uint256 amount) private {
        _tokenModel[chain][from] -= amount;
        _tokenModel[chain][to] += amount;
    }

    function _moveCoins(address from, address to, uint256 amount) private {
        _coinModel[from] -= amount;
        _coinModel[to] += amount;
    }

    function _checkAccount(address account) private view {
        vm.assertEq(tokens[SOURCE].balanceOf(account), _tokenModel[SOURCE][account], "source tokens");
        vm.assertEq(tokens[DESTINATION].balanceOf(account), _tokenModel[DESTINATION][account], "destination tokens");
        vm.assertEq(account.balance, _coinModel[account], "coins");
    }
}
