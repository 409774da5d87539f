"""Logs and metrics: structured events with one correlation id, one Prometheus registry.

Log events have names and fields, not sentences. Fields whose name says that they hold a secret are masked.
"""

import contextvars
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog
from structlog.typing import Processor

from lockstep.kit.ids import CorrelationId, new_id

correlation_id: contextvars.ContextVar[CorrelationId | None] = contextvars.ContextVar("correlation_id", default=None)

_SECRET_NAMES = re.compile(
    r"secret|token|password|private|share|authorization|mnemonic|api_key|raw_transaction", re.IGNORECASE
)

_SECRET_VALUES = re.compile(r"\b(ls_[a-z]+_[a-z0-9]{8}_|ls[sx]_|eyJ)[A-Za-z0-9_.-]{16,}")
"""Our secrets and tokens, and JSON web tokens, wherever a caller put them (a path, a message of an error)."""


def current_correlation_id() -> CorrelationId:
    """The id of the current request or step; makes one where there is none."""
    value = correlation_id.get()
    if value is None:
        value = CorrelationId(new_id())
        correlation_id.set(value)
    return value


def _add_correlation(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    value = correlation_id.get()
    if value is not None:
        event.setdefault("correlation_id", value)
    return event


def _mask(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if name != "event" and _SECRET_NAMES.search(name):
            event[name] = "***"
        elif isinstance(value, str):
            event[name] = _SECRET_VALUES.sub(r"\1***", value)
    return event


def configure_logging(level: str = "info", *, service: str, log_format: Literal["json", "console"] = "json") -> None:
    """Send structured logs to standard error; standard output stays free for data.

    What libraries log (warnings and worse) takes the same way: one form, secrets masked.

    Args:
        log_format: JSON lines for machines, or one plain line per event for people.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    enrich: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_correlation,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor] = [
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _mask,
        structlog.processors.JSONRenderer(sort_keys=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
    structlog.configure(
        processors=[*enrich, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *enrich],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
