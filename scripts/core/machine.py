"""What set-up found out about this machine and tells the work, as environment variables.

The launcher sets them for all that it starts (the stamp of the environment carries them), so that
the work need not find it out anew. Without the launcher none of them is there.
"""

from __future__ import annotations

import os

NO_EIGHT_BIT = "EASY_LORA_NO_8BIT"


def why_no_eight_bit() -> str | None:
    """Why the 8-bit optimisers do not work here, if set-up saw that they do not."""
    return os.environ.get(NO_EIGHT_BIT) or None
