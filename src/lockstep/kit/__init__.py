"""What everything stands on and knows no business: numbers, ids, time, errors, database, outbox, processes.

Import the submodules directly (``from lockstep.kit.money import ceil_div``); this package re-exports nothing, so that a
reader sees where a name comes from. Nothing here may import another package of Lockstep.
"""
