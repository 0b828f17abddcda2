"""What the pages of the training wizard find out for each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from easy_scripts.wizard.findings import Findings

if TYPE_CHECKING:
    from easy_scripts.bakes.kept import KeptBake
    from easy_scripts.train_pages.graphics_card import Card

# What belongs to the LoRA that is being made: no other one's settings may find it.
OF_LORA = ("dataset", "trigger", "of_folder", "advised_repeats", "chosen_batch", "queued", "kind",
           "spent", "planned")  # fmt: skip


@dataclass
class BakeFindings(Findings):
    """Facts by their owners.

    As long as the window is open:
        card: the graphics card (graphics_card); None until it has been looked for.

    As long as the same file is chosen:
        base: what `scripts.inspect_model` says of the base model (base page).

    As long as the same LoRA is being made; `open_settings` forgets them:
        dataset: what `scripts.inspect_dataset` says of the pictures (pictures page); it goes
            with the folder, as do the next two.
        trigger: the word that calls the LoRA up, where no caption_prefix says it (trigger field).
        of_folder: settings that were entered for the folder chosen, by name (trigger field,
            pictures page, kind page).
        advised_repeats: what the advice entered as folder_repeats (kind page).
        chosen_batch: the batch that a trial was followed in (trial part).
        queued: the id in the queue of the bake that is being edited (queue page).
        kind: of settings that were opened, the kind chosen since: "own" at first (kind page).
        planned: the plan of `scripts.train --plan` (summary page), for who has skipped the pages
            of base model and pictures.
        spent: these settings belong to a LoRA that was baked, queued or opened: a new one starts
            without what is that one's own (bake page, summary page, `open_settings`).

    Handed to the bake page, which takes them:
        bake_kind: practice or queue in place of a bake; resume: the state to go on from;
        attach: a bake that runs already.

    Of the latest bake, for the page after it (bake page):
        practised, ran (the ids of the queue's bakes), preview_seconds (a preview takes so long),
        warnings (what it said that stays worth knowing).
    """

    card: Card | None = None
    base: dict[str, Any] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    trigger: str = ""
    of_folder: dict[str, Any] = field(default_factory=dict)
    advised_repeats: dict[str, int] = field(default_factory=dict)
    chosen_batch: int | None = None
    queued: str = ""
    kind: str = ""
    planned: dict[str, Any] = field(default_factory=dict)
    spent: bool = False
    bake_kind: str = ""
    resume: str = ""
    attach: KeptBake | None = None
    practised: bool = False
    ran: list[str] = field(default_factory=list)
    preview_seconds: float | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def base_model(self) -> dict[str, Any]:
        """Family, path and kind of prediction, as far as the base model has been looked at."""
        return self.base or self.planned.get("base_model", {})

    @property
    def all_folders(self) -> list[dict[str, Any]]:
        """The picture folders, as a plan describes them; none before they are known."""
        return (self.dataset or self.planned).get("folders", [])

    @property
    def folders(self) -> list[dict[str, Any]]:
        """Those of them that are no regularisation pictures."""
        return [folder for folder in self.all_folders if not folder["is_reg"]]
