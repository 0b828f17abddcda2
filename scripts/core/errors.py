"""The errors that a person can do something about.

    Exception
    ├── SuiteError          something the user can mend (exit code 1)
    │   ├── SettingError    one setting is wrong; carries its name
    │   └── SettingErrors   several settings are wrong, all named at once
    └── Cancelled           the user stopped the work (exit code 2)

Every other exception is a bug of ours and keeps its traceback, in the log.
A message says what is wrong, the value seen and what to do, in one or two plain sentences.
"""

from __future__ import annotations

from collections.abc import Sequence


class SuiteError(Exception):
    """Something the user can mend."""


class SettingError(SuiteError):
    """One setting is wrong. `setting` is its name, the key of the config file."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting = setting


class SettingErrors(SuiteError):
    """Several settings are wrong. `errors` holds one `SettingError` for each."""

    def __init__(self, errors: Sequence[SettingError]) -> None:
        super().__init__("\n".join(f"{error.setting}: {error}" for error in errors))
        self.errors = tuple(errors)


class Cancelled(Exception):
    """The user asked to stop. The message says what was kept and where."""
