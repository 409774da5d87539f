"""Logs: one form for our events and for what libraries say, secrets masked in both."""

import json
import subprocess
import sys

TOKEN = "eyJ" + "a" * 40
PROGRAM = f"""
import logging, structlog
from lockstep.kit.telemetry import configure_logging, current_correlation_id

configure_logging(service="test", log_format={{form!r}})
current_correlation_id()
structlog.get_logger("ours").warning("order_refused", api_key="hush", said="with {TOKEN}")
logging.getLogger("psycopg.pool").warning("error connecting with %s", "{TOKEN}")
logging.getLogger("psycopg.pool").info("not worth a line")
try:
    raise ValueError("away: {TOKEN}")
except ValueError:
    logging.getLogger("asyncio").exception("task failed")
"""


def lines(form: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(form=form)], capture_output=True, text=True, check=True)
    assert done.stdout == "", "standard output is for data"
    assert TOKEN not in done.stderr
    assert "hush" not in done.stderr
    return done.stderr.splitlines()


def test_logs__json__every_line_is_one_event_whoever_says_it() -> None:
    ours, pool, task = (json.loads(line) for line in lines("json"))
    assert (ours["event"], ours["level"], ours["api_key"]) == ("order_refused", "warning", "***")
    assert (pool["logger"], pool["level"]) == ("psycopg.pool", "warning")
    assert pool["event"] == "error connecting with eyJ***"
    assert task["exception"].endswith("ValueError: away: eyJ***")
    assert len({event["correlation_id"] for event in (ours, pool, task)}) == 1
    assert {event["service"] for event in (ours, pool, task)} == {"test"}


def test_logs__console__are_lines_for_people() -> None:
    first, second, *_ = lines("console")
    assert "order_refused" in first
    assert "error connecting with" in second
