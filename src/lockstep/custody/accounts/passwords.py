"""Hashing passwords: argon2id, off the event loop, in a few threads with a short queue before them.

Each hash carries its salt and parameters, so that the parameters can be raised: whoever signs in next gets a new hash.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from lockstep.custody.accounts.rules import normal_password
from lockstep.custody.errors import LoginsBusy

T = TypeVar("T")
PASSES: Final = 3
MEMORY_KIB: Final = 64 * 1024
LANES: Final = 1


class PasswordHashing:
    """The second recommendation of RFC 9106 in one lane: 3 passes over 64 MiB."""

    def __init__(
        self, *, passes: int = PASSES, memory_kib: int = MEMORY_KIB, threads: int = 2, waiting: int = 32
    ) -> None:
        """
        Args:
            threads: passwords that are hashed at a time; each takes `memory_kib`.
            waiting: how many more may wait; the next one is sent away.
        """
        self._hasher = argon2.PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=LANES)
        self._most = threads + waiting
        self._pending = 0
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._nobodys = _hash_of_nothing(passes, memory_kib)

    async def hash(self, password: str) -> str:
        """A fresh hash.

        Raises:
            LoginsBusy: too many wait already.
        """
        return await self._run(lambda: self._hasher.hash(normal_password(password)))

    async def verify(self, known: str | None, password: str) -> bool:
        """Whether a password is the one of a hash; without a hash it takes as long, and is not.

        Raises:
            LoginsBusy: too many wait already.
        """
        return await self._run(lambda: self._verify(known or self._nobodys, normal_password(password)))

    def is_outdated(self, known: str) -> bool:
        """Whether a hash was made with other parameters than those of now."""
        return self._hasher.check_needs_rehash(known)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, known: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= self._most:
            raise LoginsBusy
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="passwords")
        self._pending += 1
        # Counted until its thread is done: a caller that gives up does not make room.
        loop, job = asyncio.get_running_loop(), self._pool.submit(work)
        job.add_done_callback(lambda done: self._left(loop, done))
        return await asyncio.wrap_future(job)

    def _left(self, loop: asyncio.AbstractEventLoop, _: Future[T]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self._pending -= 1


def _hash_of_nothing(passes: int, memory_kib: int) -> str:
    """A hash that no password has: random, so that nobody can know one."""

    def part(size: int) -> str:
        return base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")

    return f"$argon2id$v=19$m={memory_kib},t={passes},p={LANES}${part(16)}${part(32)}"
