"""Loading settings so that every fault is reported at once, in words, and no secret ever shows."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from lockstep.kit.errors import Refuse

S = TypeVar("S", bound=BaseSettings)


class SettingsInvalid(Refuse):
    """The settings do not hold; nothing was started."""

    code = "settings_invalid"


def load_settings(cls: type[S], prefix: str, overrides: Mapping[str, Any] | None = None) -> S:
    """Read settings from the environment.

    Raises:
        SettingsInvalid: with one line per fault, naming the variable and never repeating its value.
    """
    try:
        return cls(**(overrides or {}))
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_input=False, include_url=False, include_context=False):
            variable = "__".join(str(part) for part in fault["loc"]).upper()
            reason = fault["msg"].removeprefix("Value error, ")
            faults.append(f"{prefix}{variable}: {reason}" if variable else reason)
        raise SettingsInvalid("\n".join(faults), faults=faults) from None
