"""How fast this computer trains: kept from earlier bakes and trials, asked for by the wizard.

    record(Pace(device, "sdxl", 1024, 1, "bf16", True, 16, seconds_per_step=1.1))
    pace = lookup(Pace(device, "sdxl", 1024, 2, "bf16", True, 16, seconds_per_step=0))

The training writes its pace at the end; nothing here needs torch. A pace that is not known exactly
is taken from the nearest bake on the same device, scaled by the number of pixels in a step, which
the time of a step is proportional to; `exact` tells which. A device is told by its name alone, what
stands before the comma: torch and the driver round its memory differently.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from scripts.core.files import CACHE_FOLDER, write_text

PACES_NAME = "calibration.json"
PLACE = CACHE_FOLDER / PACES_NAME
MOST_KEPT = 200
LEAST_SCALED = 256  # pixels; below that it is the practice model's, which tells nothing of others
CHECKPOINTING_COST = 1.3  # a step with gradient checkpointing takes about so much longer
# Reported by users for SDXL at 1024, batch 1 (seconds a step), where there is no bake to go by.
PUBLISHED = {"RTX 3060": 2.4, "RTX 3090": 1.15}


@dataclass(frozen=True)
class Pace:
    """How long a step takes. `resolution` is the side of the square; seconds and bytes as measured.

    `exact` is False when it was scaled from another bake or a published number.
    """

    device: str
    family: str
    resolution: int
    batch: int
    precision: str
    checkpointing: bool
    dim: int
    seconds_per_step: float
    memory_bytes: int | None = None
    exact: bool = True

    @property
    def key(self) -> tuple:
        """What tells one kind of bake from another."""
        return (self.device_name, self.family, self.resolution, self.batch, self.precision,
                self.checkpointing, self.dim)  # fmt: skip

    @property
    def device_name(self) -> str:
        """The device without its memory or number of threads: "NVIDIA GeForce RTX 3060", "CPU"."""
        return self.device.partition(",")[0]

    @property
    def work(self) -> float:
        """Pixels in a step, with the cost of checkpointing."""
        cost = CHECKPOINTING_COST if self.checkpointing else 1.0
        return self.resolution**2 * self.batch * cost


def record(pace: Pace, place: Path = PLACE) -> None:
    """Keep a pace; the newest of a kind counts. Raises SuiteError when it cannot be written."""
    kept = [old for old in read(place) if old.key != pace.key]
    content = [asdict(one) for one in [*kept, pace][-MOST_KEPT:]]
    write_text(place, json.dumps(content, indent=1) + "\n")


def read(place: Path = PLACE) -> list[Pace]:
    """All paces kept, oldest first; none when the file is missing or damaged."""
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
        names = {entry.name for entry in fields(Pace)}
        return [Pace(**{key: value for key, value in entry.items() if key in names})
                for entry in content]  # fmt: skip
    except (OSError, ValueError, TypeError, AttributeError):
        return []


def lookup(wanted: Pace, place: Path = PLACE) -> Pace | None:
    """The pace of a bake like `wanted` (whose seconds do not count); None when nothing is known."""
    known = [pace for pace in read(place)
             if (pace.device_name, pace.family) == (wanted.device_name, wanted.family)]  # fmt: skip
    for pace in reversed(known):
        if pace.key == wanted.key:
            return pace
    known = [pace for pace in known if pace.resolution >= LEAST_SCALED]
    if known:
        return _scaled(min(known, key=lambda pace: _distance(pace, wanted)), wanted)
    for name, seconds in PUBLISHED.items():
        if name in wanted.device and "Laptop" not in wanted.device and wanted.family == "sdxl":
            published = replace(wanted, resolution=1024, batch=1, checkpointing=True,
                                seconds_per_step=seconds)  # fmt: skip
            return _scaled(published, wanted)
    return None


def _scaled(pace: Pace, wanted: Pace) -> Pace:
    seconds = pace.seconds_per_step * wanted.work / pace.work
    return replace(wanted, seconds_per_step=seconds, memory_bytes=None, exact=False)


def _distance(pace: Pace, wanted: Pace) -> float:
    """How unlike two bakes are: by work, then by what changes the speed of the same work."""
    ratio = max(pace.work, wanted.work) / min(pace.work, wanted.work)
    return (ratio + (pace.precision != wanted.precision) * 2
            + (pace.checkpointing != wanted.checkpointing))  # fmt: skip
