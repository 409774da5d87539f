"""Hashing passwords: off the loop, bounded, with parameters that can be raised."""

from __future__ import annotations

import asyncio
import threading

import pytest

from lockstep.custody.accounts.passwords import MEMORY_KIB, PASSES, PasswordHashing
from lockstep.custody.errors import LoginsBusy

GOOD = "correct horse battery staple"


async def test_hash__as_shipped__is_argon2id_with_its_parameters() -> None:
    hashing = PasswordHashing()
    made = await hashing.hash(GOOD)
    assert made.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$")
    assert (MEMORY_KIB, PASSES) >= (64 * 1024, 3)
    assert await hashing.verify(made, GOOD)
    assert not await hashing.verify(made, GOOD + " ")
    hashing.close()


async def test_hash__twice__is_salted() -> None:
    hashing = PasswordHashing(passes=1, memory_kib=64)
    assert await hashing.hash(GOOD) != await hashing.hash(GOOD)
    hashing.close()


async def test_verify__nobodys_or_a_broken_hash__is_false() -> None:
    hashing = PasswordHashing(passes=1, memory_kib=64)
    for known in (None, "", "$argon2id$", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$aGFzaA", "x"):
        assert not await hashing.verify(known, GOOD)
    hashing.close()


async def test_verify__for_nobody__does_the_work_of_a_real_one() -> None:
    """The stand-in is a hash with the same parameters: what differs is that no password has it."""
    hashing = PasswordHashing(passes=2, memory_kib=128)
    real = await hashing.hash(GOOD)
    assert real.split("$")[:4] == hashing._nobodys.split("$")[:4]
    assert [len(part) for part in real.split("$")] == [len(part) for part in hashing._nobodys.split("$")]
    hashing.close()


async def test_hash__with_raised_parameters__is_known_to_be_outdated() -> None:
    old, new = PasswordHashing(passes=1, memory_kib=64), PasswordHashing(passes=2, memory_kib=64)
    made = await old.hash(GOOD)
    assert not old.is_outdated(made)
    assert new.is_outdated(made)
    assert await new.verify(made, GOOD)
    for each in (old, new):
        each.close()


async def test_hashing__more_than_may_wait__is_sent_away_and_the_loop_goes_on() -> None:
    hashing = PasswordHashing(passes=1, memory_kib=64, threads=1, waiting=2)
    gate = threading.Event()
    slow = [asyncio.create_task(hashing._run(gate.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(LoginsBusy):
        await hashing.hash(GOOD)
    slow[0].cancel()  # who gives up makes no room: the thread is still at work
    await asyncio.sleep(0)
    with pytest.raises(LoginsBusy):
        await hashing.hash(GOOD)
    gate.set()
    await asyncio.gather(*slow[1:])
    assert await hashing.verify(await hashing.hash(GOOD), GOOD)
    hashing.close()
