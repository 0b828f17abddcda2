"""Write the curves of a training for TensorBoard, when the setting logging_dir asks for it.

    with open_metrics_log(settings.logging_dir, settings.output_name, report) as metrics:
        metrics.step(1, loss, average_loss, {"unet": 1e-4})
        metrics.epoch(1, mean_loss)

To look at them: `tensorboard --logdir <logging_dir>`. Names of curves are those of sd-scripts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.core.events import Note, Report
from scripts.core.files import explain_os_error

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class MetricsLog:
    """The curves of one training. Without a writer every method does nothing."""

    def __init__(self, writer: SummaryWriter | None, report: Report) -> None:
        self._writer = writer
        self._report = report

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    @property
    def wanted(self) -> bool:
        """Whether anything is written at all."""
        return self._writer is not None

    def step(
        self, step: int, loss: float, average_loss: float, learning_rates: Mapping[str, float]
    ) -> None:
        """One optimiser step (from 1): its loss, the moving average, the rate of each group."""
        self._write("loss/current", loss, step)
        self._write("loss/average", average_loss, step)
        for name, rate in learning_rates.items():
            self._write(f"lr/{name}", rate, step)

    def epoch(self, epoch: int, mean_loss: float) -> None:
        """The mean loss of a whole epoch (from 1)."""
        self._write("loss/epoch_average", mean_loss, epoch)

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


def open_metrics_log(
    logging_dir: Path | str | None, output_name: str, report: Report
) -> MetricsLog:
    """The log of a new training in `<logging_dir>/<output_name>-<time>`.

    Without logging_dir, or when the package tensorboard is missing or the folder cannot be
    made (both are reported as a Note), the log does nothing.
    """
    if logging_dir is None:
        return MetricsLog(None, report)
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        report(Note("There is no TensorBoard log, because the package tensorboard is not "
                    "installed. Run setup again to add it."))  # fmt: skip
        return MetricsLog(None, report)
    folder = _new_folder(Path(logging_dir), output_name)
    try:
        return MetricsLog(SummaryWriter(log_dir=str(folder)), report)
    except OSError as error:
        report(Note(f"There is no TensorBoard log. {explain_os_error(error, folder)}"))
        return MetricsLog(None, report)


def _new_folder(logging_dir: Path, output_name: str) -> Path:
    """A folder that is not there yet: a second training in the same second gets a number."""
    stem = f"{output_name}-{time.strftime('%Y%m%d%H%M%S')}"
    folder, number = logging_dir / stem, 2
    while folder.exists():
        folder, number = logging_dir / f"{stem}-{number}", number + 1
    return folder
