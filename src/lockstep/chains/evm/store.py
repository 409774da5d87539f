"""SQL of the followers: checkpoints and recent block hashes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lockstep.chains.evm.types import BlockRef, Hash32
from lockstep.kit.database import UnitOfWork


async def find_checkpoint(uow: UnitOfWork, follower: str, chain: str, *, lock: bool = False) -> BlockRef | None:
    """The last executed block; None before the first look."""
    row = await uow.find(
        "select block_number, block_hash, block_timestamp from chain_checkpoints where follower = %s and chain = %s"
        " for update"
        if lock
        else "select block_number, block_hash, block_timestamp from chain_checkpoints where follower = %s and chain = %s",
        (follower, chain),
    )
    if row is None:
        return None
    return BlockRef(chain, row["block_number"], bytes(row["block_hash"]), row["block_timestamp"])


async def insert_checkpoint(uow: UnitOfWork, follower: str, block: BlockRef) -> None:
    """Create the checkpoint where a follower begins; an existing one stays."""
    await uow.execute(
        "insert into chain_checkpoints (follower, chain, block_number, block_hash, block_timestamp)"
        " values (%s, %s, %s, %s, %s) on conflict (follower, chain) do nothing",
        (follower, block.chain, block.number, block.hash, block.timestamp),
    )
    if block.hash:
        await record_blocks(uow, follower, [block])


async def move_checkpoint(uow: UnitOfWork, follower: str, block: BlockRef, now: datetime, *, unwound: bool) -> None:
    """Set the checkpoint, which the caller has locked."""
    await uow.execute(
        "update chain_checkpoints set block_number = %s, block_hash = %s, block_timestamp = %s, updated_at = %s,"
        " unwound = unwound + %s where follower = %s and chain = %s",
        (block.number, block.hash, block.timestamp, now, int(unwound), follower, block.chain),
    )


async def record_blocks(uow: UnitOfWork, follower: str, blocks: Sequence[BlockRef]) -> None:
    """Remember executed blocks."""
    if blocks:
        await uow.execute(
            "insert into chain_blocks (follower, chain, number, hash, block_timestamp)"
            " select %s, %s, * from unnest(%b::bigint[], %b::bytea[], %b::bigint[])"
            " on conflict (follower, chain, number) do update"
            " set hash = excluded.hash, block_timestamp = excluded.block_timestamp",
            (
                follower,
                blocks[0].chain,
                [block.number for block in blocks],
                [block.hash for block in blocks],
                [block.timestamp for block in blocks],
            ),
        )


async def forget_blocks(
    uow: UnitOfWork, follower: str, chain: str, *, above: int | None = None, below: int | None = None
) -> None:
    """Forget blocks of a dropped branch, or those too old to be reorganised."""
    await uow.execute(
        "delete from chain_blocks where follower = %s and chain = %s and (number > %s or number < %s)",
        (follower, chain, 2**62 if above is None else above, -1 if below is None else below),
    )


async def list_blocks(
    uow: UnitOfWork, follower: str, chain: str, at_most: int, limit: int
) -> list[tuple[int, Hash32, int]]:
    """Remembered blocks (number, hash, timestamp) from a height downwards."""
    rows = await uow.fetch(
        "select number, hash, block_timestamp from chain_blocks where follower = %s and chain = %s and number <= %s"
        " order by number desc limit %s",
        (follower, chain, at_most, limit),
    )
    return [(row["number"], bytes(row["hash"]), row["block_timestamp"]) for row in rows]
