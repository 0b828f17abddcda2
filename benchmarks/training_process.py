"""One measured training, in a process of its own: `benchmarks.training_step` starts it.

The engine runs as it is. Only its function `take_step` is wrapped, to look at the clock before and
after, and to take each batch once more with peft's layers when both are to be compared.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from scripts.core.events import Event

DIM = 16
PICTURES = 8


def main() -> int:
    """Train as the task (JSON) on the command line says, and print the figures as JSON."""
    task = json.loads(sys.argv[1])
    print(json.dumps(measure(**task)))
    return 0


@dataclass
class Clock:
    """Seconds, and processor seconds over all threads, of what it was asked to time."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def time(self, work: Callable[[], Any]) -> Any:
        """Do the work, remember how long it took, and give back its result."""
        begun, processor = time.perf_counter(), time.process_time()
        result = work()
        wait_for_card()
        self.seconds.append(time.perf_counter() - begun)
        self.processor.append(time.process_time() - processor)
        return result

    def medians(self) -> tuple[float, float]:
        """Median seconds and processor seconds, without the first, which holds warming up."""
        return statistics.median(self.seconds[1:]), statistics.median(self.processor[1:])


def measure(
    model: str, folder: str, precision: str, resolution: int, steps: int, beside_peft: bool,
    began: float,
) -> dict[str, Any]:  # fmt: skip
    """Train `steps` steps and one to warm up; the figures. `began`: when the process was started"""
    pictures = Path(folder) / "pictures"
    draw_pictures(pictures / "1_shape", resolution)
    from scripts.core.events import Control
    from scripts.lora import base_hashes
    from scripts.settings.train import read_train_settings
    from scripts.training import loop, start

    settings, _ = read_train_settings(
        {
            "pretrained_model_name_or_path": model, "train_data_dir": pictures,
            "output_dir": Path(folder) / "output", "resolution": resolution, "network_dim": DIM,
            "optimizer_type": "AdamW", "learning_rate": 1e-4, "train_batch_size": 1,
            "max_train_steps": steps + 1, "mixed_precision": precision, "seed": 1,
            "cache_latents_to_disk": True,
        }
    )  # fmt: skip
    begun: dict[str, float] = {}
    take_step, ours, theirs = loop.take_step, Clock(), Clock()
    twins: list[PeftTwin] = []
    losses: list[tuple[float, float]] = []

    def timed_step(run: Any, *batch: Any) -> Any:
        if not ours.seconds:
            begun["seconds"] = time.time() - began
            begun["processor"] = time.process_time()
            if beside_peft:
                twins.append(PeftTwin(run))
        loss = ours.time(lambda: take_step(run, *batch))
        if twins:
            with twins[0] as twin_run:
                theirs_loss = theirs.time(lambda: take_step(twin_run, *batch))
            losses.append((loss.item(), theirs_loss.item()))
        return loss

    stages = StageTimes()
    cache = Path(folder) / "cache"
    with (
        patch.object(loop, "take_step", timed_step),
        patch.object(start, "CACHE_FOLDER", cache),
        patch.object(base_hashes, "CACHE_FOLDER", cache),
    ):
        start.train(settings, stages, Control())
    seconds, processor = ours.medians()
    if not beside_peft:
        return {
            "cold_start_seconds": begun["seconds"],
            "encoding_seconds": stages.seconds("Encoding the pictures"),
            "step_seconds": seconds,
            "step_processor_seconds": processor,
            "peak_bytes": peak_bytes(),
        }
    peft_seconds, peft_processor = theirs.medians()
    return {
        "start_seconds": begun["seconds"],
        "start_processor_seconds": begun["processor"],
        "paired_step_seconds": seconds,
        "peft_step_seconds": peft_seconds,
        "ratio": seconds / peft_seconds,
        "processor_ratio": processor / peft_processor,
        "largest_loss_difference": max(abs(a - b) / b for a, b in losses),
    }


class StageTimes:
    """Hears the engine's events, and remembers when each stage was first and last spoken of."""

    def __init__(self) -> None:
        self._times: dict[str, tuple[float, float]] = {}

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if event.kind == "stage":
            now = time.perf_counter()
            self._times[event.name] = (self._times.get(event.name, (now, now))[0], now)

    def seconds(self, stage: str) -> float:
        """How long the stage took."""
        first, last = self._times[stage]
        return last - first


def wait_for_card() -> None:
    """Wait until the graphics card, if there is one, has done what it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def draw_pictures(folder: Path, side: int, count: int = PICTURES) -> None:
    """Coloured discs on coloured ground with captions; nothing is done if they are there."""
    if folder.exists():
        return
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True)
    for number in range(count):
        green = 255 - 255 * number // count
        picture = Image.new("RGB", (side, side), (255 * number // count, green, 128))
        left = side * (1 + number / count) / 10
        box = (left, 0.2 * side, left + 0.4 * side, 0.8 * side)
        ImageDraw.Draw(picture).ellipse(box, "white")
        picture.save(folder / f"{number}.png", compress_level=1)
        (folder / f"{number}.txt").write_text(f"a white disc, number {number}", encoding="utf-8")


def peak_bytes() -> int | None:
    """The most memory that this process ever held, of the graphics card if it used one; None where
    the system does not tell so."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


class PeftTwin:
    """peft's layers for the models of a run, with the weights that the run begins with.

    `with twin as run:` puts them into the U-Net and the text encoders; `run` is the run with their
    weights and an optimiser for these.
    """

    def __init__(self, run: Any) -> None:
        import copy

        from scripts.lora.layer import LoRALayer
        from scripts.training.optimizers import create_optimizer, create_scheduler

        self._places: list[tuple[Any, str, Any, Any]] = []  # parent, attribute, ours, theirs
        models = [*run.captions.modules, run.unet]
        found = [
            {path: layer for path, layer in model.named_modules() if isinstance(layer, LoRALayer)}
            for model in models
        ]
        run.network.remove()
        parameters = {}
        for model, layers in zip(models, found, strict=True):
            for path, layer in _with_peft_layers(model, layers).items():
                parent, _, attribute = path.rpartition(".")
                place = (model.get_submodule(parent), attribute)
                self._places.append((*place, layers[path], layer))
                factors = layer.lora_A["default"].weight, layer.lora_B["default"].weight
                parameters[id(layers[path].down.weight)] = factors[0]
                parameters[id(layers[path].up.weight)] = factors[1]
        self._put(2)
        groups = [
            {**group, "params": [parameters[id(weight)] for weight in group["params"]]}
            for group in run.network.param_groups(run.settings)
        ]
        made = create_optimizer(run.settings, groups, run.accelerator.device)
        self.run = copy.copy(run)
        self.run.parameters = [weight for group in groups for weight in group["params"]]
        self.run.optimizer = run.accelerator.prepare_optimizer(made.optimizer)
        self.run.scheduler = create_scheduler(made.optimizer, run.settings, run.amount.steps)

    def _put(self, which: int) -> None:
        """Put our layers (2) or peft's (3) into the models."""
        for place in self._places:
            setattr(place[0], place[1], place[which])

    def __enter__(self) -> Any:
        self._put(3)
        return self.run

    def __exit__(self, *_: object) -> None:
        self._put(2)


def _with_peft_layers(model: Any, layers: dict[str, Any]) -> dict[str, Any]:
    """Let peft put its layers where `layers` were; they get the weights of those, in float32."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    layer = next(iter(layers.values()))
    config = LoraConfig(r=layer.dim, lora_alpha=layer.alpha, target_modules=list(layers))
    inject_adapter_in_model(config, model)
    made = {path: model.get_submodule(path) for path in layers}
    with torch.no_grad():
        for path, peft_layer in made.items():
            for weights, ours in ((peft_layer.lora_A, "down"), (peft_layer.lora_B, "up")):
                weights["default"].float().weight.copy_(getattr(layers[path], ours).weight)
    return made


if __name__ == "__main__":
    sys.exit(main())
