"""Where values come from: variables, and files that are named by variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import (
    EnvSettingsSource,
    PydanticBaseSettingsSource,
)

from lockstep.app.settings.values import Unreadable

PREFIX = "LOCKSTEP_"


class Files(PydanticBaseSettingsSource):
    """Values that stand in the file named by ``LOCKSTEP_…_FILE``."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - inherited signature
        variable = f"{PREFIX}{field_name.upper()}"
        place = os.environ.get(f"{variable}_FILE")
        if place is None:
            return None, field_name, False
        if variable in os.environ:
            return Unreadable(f"expected only one of {variable} and {variable}_FILE"), field_name, False
        try:
            text = Path(place).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            return Unreadable(f"{variable}_FILE: cannot read {place}: {error}"), field_name, False
        return text, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class Environment(EnvSettingsSource):
    """The variables. A group that is given as a whole and is not JSON is one fault among others."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value  # the group refuses it
