"""Compiled aggregations by id: they never change, so memory may answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from lockstep.custody.limits import store
from lockstep.custody.limits.schema import compile_aggregation
from lockstep.custody.limits.types import SEALED_AS, CompiledAggregation
from lockstep.custody.seals import Seals
from lockstep.custody.seals.contents import of_aggregation
from lockstep.kit.database import UnitOfWork


class AggregationShelf:
    """Loads and compiles what is missing; the least recently used are forgotten."""

    def __init__(self, seals: Seals, max_entries: int = 1_024) -> None:
        self._seals = seals
        self._compiled: OrderedDict[str, CompiledAggregation] = OrderedDict()
        self._max_entries = max_entries

    async def load(self, uow: UnitOfWork, wanted: Iterable[tuple[str, str]]) -> dict[str, CompiledAggregation]:
        """Aggregations by reference ("aggregation.<id>").

        Args:
            wanted: (app, reference) pairs; one that the app does not have, or that was not written by the service, is absent,
                so that no rule about it holds.
        """
        pairs = set(wanted)
        missing = {pair for pair in pairs if pair[1] not in self._compiled}
        if missing:
            ids = [reference.partition(".")[2] for _, reference in missing]
            documents = await store.load_documents(uow, sorted({app_id for app_id, _ in missing}), ids)
            for aggregation_id, (app_id, document, seal) in documents.items():
                if not self._seals.is_sealed(SEALED_AS, aggregation_id, of_aggregation(app_id, document), seal):
                    continue
                compiled = compile_aggregation(document, aggregation_id, app_id)
                self._compiled[compiled.reference] = compiled
        found = {}
        for app_id, reference in pairs:
            compiled_one = self._compiled.get(reference)
            if compiled_one is not None and compiled_one.app_id == app_id:
                found[reference] = compiled_one
                self._compiled.move_to_end(reference)
        while len(self._compiled) > self._max_entries:
            self._compiled.popitem(last=False)
        return found
