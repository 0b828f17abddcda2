"""Write the curves of a training for TensorBoard, when the setting logging_dir asks for it.

    with MetricsLog.open(settings, report) as metrics:
        metrics.write(2, [loss_of_step_1, loss_of_step_2], {"unet": 1e-4})
        metrics.end_epoch(1)

To look at them: `tensorboard --logdir <logging_dir>`. Names of curves are those of sd-scripts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.core.events import Note, Report
from scripts.core.files import explain_os_error
from scripts.training.progress import SMOOTHING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from scripts.settings.train import TrainSettings


class MetricsLog:
    """The curves of one training. Without a writer every method does nothing."""

    def __init__(self, writer: SummaryWriter | None, report: Report) -> None:
        self._writer = writer
        self._report = report
        self._average: float | None = None
        self._of_epoch: list[float] = []

    @classmethod
    def open(cls, settings: TrainSettings, report: Report) -> MetricsLog:
        """The log of a new training in `<logging_dir>/<output_name>-<time>`.

        Without logging_dir, or when the package tensorboard is missing or the folder cannot be
        made (both are reported as a Note), the log does nothing.
        """
        if settings.logging_dir is None:
            return cls(None, report)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            report(Note("There is no TensorBoard log, because the package tensorboard is not "
                        "installed. Run setup again to add it."))  # fmt: skip
            return cls(None, report)
        folder = _new_folder(settings.logging_dir, settings.output_name)
        try:
            return cls(SummaryWriter(log_dir=str(folder)), report)
        except OSError as error:
            report(Note(f"There is no TensorBoard log. {explain_os_error(error, folder)}"))
            return cls(None, report)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def write(self, step: int, losses: Sequence[float], rates: Mapping[str, float]) -> None:
        """The losses of the latest steps, the last of which is `step` (from 1), and the rates.

        "loss/current" is the loss of a step, "loss/average" its moving average (each step counts
        2 %), "lr/<group>" the rate of a group after the last of these steps.
        """
        self._of_epoch.extend(losses)
        for number, loss in enumerate(losses, step - len(losses) + 1):
            past = loss if self._average is None else self._average
            self._average = past + (1 - SMOOTHING) * (loss - past)
            self._write("loss/current", loss, number)
            self._write("loss/average", self._average, number)
        for name, rate in rates.items():
            self._write(f"lr/{name}", rate, step)

    def end_epoch(self, epoch: int) -> None:
        """Write the mean loss of the steps since the last epoch ended; `epoch` counts from 1."""
        if self._of_epoch:
            self._write("loss/epoch_average", math.fsum(self._of_epoch) / len(self._of_epoch), epoch)
        self._of_epoch.clear()

    def close(self) -> None:
        """Write what is waiting and close the file."""
        if self._writer is not None:
            self._guarded(self._writer.close)
            self._writer = None

    def _write(self, name: str, value: float, step: int) -> None:
        if self._writer is not None and not math.isnan(value):
            self._guarded(self._writer.add_scalar, name, value, step)

    def _guarded(self, write: Any, *arguments: Any) -> None:
        """A full disk stops the log, not the training."""
        writer = self._writer
        try:
            write(*arguments)
        except OSError as error:
            self._writer = None
            place = Path(writer.log_dir)
            self._report(Note(f"The TensorBoard log ends here. {explain_os_error(error, place)}"))


def _new_folder(logging_dir: Path, output_name: str) -> Path:
    """A folder that is not there yet: a second training in the same second gets a number."""
    stem = f"{output_name}-{time.strftime('%Y%m%d%H%M%S')}"
    folder, number = logging_dir / stem, 2
    while folder.exists():
        folder, number = logging_dir / f"{stem}-{number}", number + 1
    return folder
