"""Which pictures: what was found, what is wrong with it, how it is mended, the trigger word."""

from __future__ import annotations

from functools import partial
from tkinter import ttk
from typing import Any

from easy_scripts.train_pages.folder_table import FolderTable
from easy_scripts.train_pages.thumbnails import Thumbnails
from easy_scripts.train_pages.trigger_field import PREFIX, TriggerField
from easy_scripts.wizard.asking import Answer, Asking, short_path
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.theme import CAPTION
from scripts.core.declare import is_unset
from scripts.settings.train_reading import read_arguments

SETTING, REPEATS = "train_data_dir", "folder_repeats"
TAGS_SHOWN = 12
NAMES_SHOWN = 3
TIMES = "\u00a0×\u00a0"  # no line ends here
MOST_LINES = 6  # of what is worth knowing, before the rest is folded into a number
OF_PICTURES = (SETTING, "reg_data_dir", "dataset_config", REPEATS, "resolution",
               "caption_extension", "enable_bucket", "min_bucket_reso", "max_bucket_reso",
               "bucket_reso_steps", "bucket_no_upscale", "train_batch_size")  # fmt: skip


class PicturesPage(Page):
    """The folder, and below it what `scripts.inspect_dataset` says."""

    name = "pictures"
    handles = (REPEATS, PREFIX, "dataset_config")

    def build(self, body: ttk.Frame) -> None:
        """The row of the folder, findings, trigger word, folded regularisation pictures."""
        theme = self.theme
        self._asking = Asking(self.wizard, "scripts.inspect_dataset")
        self._asked: dict[str, Any] | None = None
        self._folder: str | None = None  # that what is known and entered belongs to
        self._problem = ""
        row = self.add_row(body, SETTING)
        row.frame.pack_configure(pady=(0, theme.px(12)))
        self._state = ttk.Label(body, style="Muted.TLabel", wraplength=theme.px(640))
        self._state.pack(anchor="w")
        self._choices = ttk.Frame(body)
        self._findings = ttk.Frame(body)
        self._thumbnails = Thumbnails(self._findings, theme)
        self._thumbnails.pack(anchor="w", pady=(theme.px(10), 0))
        self._table = FolderTable(self._findings, self.wizard, self._repeat)
        self._table.pack(fill="x", pady=(theme.px(12), 0))
        self._notes = ttk.Frame(self._findings)
        self._notes.pack(fill="x", pady=(theme.px(10), 0))
        self.trigger = TriggerField(self._findings, self.wizard)
        self.trigger.pack(fill="x", pady=(theme.px(16), theme.px(6)))
        self._fold = self.add_fold(body, "pictures.regularisation")
        self.add_row(self._fold, "reg_data_dir")
        self.answers.watch(self._look, *OF_PICTURES)

    def enter(self) -> None:
        """Look at the folder."""
        self._look()

    # --- looking -------------------------------------------------------------------------

    def _question(self) -> dict[str, Any]:
        config = {name: value for name, value in self.answers.config().items()
                  if name in OF_PICTURES}  # fmt: skip
        base = self.wizard.facts.base
        if base:
            config.setdefault("resolution", base["resolution"])
        return config

    def _look(self) -> None:
        question = self._question()
        if question.get(SETTING) != self._folder:
            self._folder = question.get(SETTING)
            self._forget_folder()
            question = self._question()
        known = self.wizard.facts.dataset
        looked_at = question == self._asked and (self._asking.busy or self._problem or known)
        if looked_at or self.wizard.page is not self:
            return
        self._asked, self._problem = question, ""
        self._asking.close()
        self._choices.pack_forget()
        if not known:
            self._findings.pack_forget()
        if not question.get(SETTING) or self.answers.error(SETTING):
            self._state.configure(text="")
            return
        if not known:
            self._state.configure(text=self.texts("pictures.reading"))
        self._asking.ask_about(question, "--thumbnails", self._take, self._show)

    def _forget_folder(self) -> None:
        """What was found in the folder before, and entered for it, does not go for another one."""
        facts = self.wizard.facts
        entered = dict(facts.of_folder)
        facts.forget("dataset", "trigger", "of_folder", "advised_repeats")
        self._table.forget()
        for name, value in entered.items():
            if self.answers[name] == value:
                self.answers.withdraw(name)

    def _take(self, answer: Answer) -> None:
        if answer.problems:
            self._problem = answer.problem
            self._state.configure(text="")
            self._findings.pack_forget()
            self.rows[SETTING].show_error(self._problem)
            self._offer_choices(answer.facts.get("choices", []))
            self.answered()

    def _offer_choices(self, folders: list[str]) -> None:
        for child in self._choices.winfo_children():
            child.destroy()
        if not folders:
            return
        ttk.Label(self._choices, text=self.texts("pictures.which")).pack(anchor="w")
        for folder in folders:
            ttk.Button(self._choices, text=short_path(folder), style="Wide.TButton",
                       command=partial(self._choose, folder)).pack(anchor="w", pady=2)  # fmt: skip
        self._choices.pack(fill="x", pady=self.theme.px(10), after=self._state)

    def _choose(self, folder: str) -> None:
        self.answers[SETTING] = folder
        self.rows[SETTING].check()

    # --- showing -------------------------------------------------------------------------

    def _show(self, answer: Answer) -> None:
        """What is known so far; comes twice, the second time with what opened pictures told."""
        facts = answer.facts
        if "folders" not in facts:
            return
        first = not self.wizard.facts.dataset
        self.wizard.facts.dataset = facts
        self.rows[SETTING].show_error(None)
        self._state.configure(text=self._sentence(facts))
        self._table.show(facts["folders"])
        if facts["complete"]:
            self._thumbnails.show([picture["thumbnail"] for picture in facts["pictures"]
                                   if not picture["is_reg"]])  # fmt: skip
        self._tell(facts)
        if first:
            self.trigger.propose(facts)
        self._findings.pack(fill="x", after=self._state)
        self.answered()

    def _sentence(self, facts: dict[str, Any]) -> str:
        trained = [folder for folder in facts["folders"] if not folder["is_reg"]]
        pictures = sum(folder["pictures"] for folder in trained)
        captions = facts["captions"]
        missing, empty = captions.get("missing", 0), captions.get("empty", 0)
        parts = [self.texts("pictures.count", pictures=pictures, folders=len(trained))]
        if missing == 0 and empty == 0:
            parts.append(self.texts("pictures.all_captions"))
        elif missing == pictures:
            parts.append(self.texts("pictures.no_captions"))
        elif missing:
            parts.append(self.texts("pictures.some_captions", missing=missing))
        if empty:
            parts.append(self.texts("pictures.empty_captions", empty=empty))
        smallest, largest = (TIMES.join(map(str, facts["sizes"][key]))
                             for key in ("smallest", "largest"))  # fmt: skip
        sizes = smallest if smallest == largest else f"{smallest} – {largest}"
        parts.append(self.texts("pictures.sizes", sizes=sizes))
        buckets = [f"{entry['width']}{TIMES}{entry['height']}" for entry in facts["buckets"]]
        more = "" if len(buckets) <= NAMES_SHOWN else " …"
        parts.append(self.texts("pictures.buckets", count=len(buckets),
                                shapes=", ".join(buckets[:NAMES_SHOWN]) + more))  # fmt: skip
        return " · ".join(parts)

    def _tell(self, facts: dict[str, Any]) -> None:
        """Mends with their buttons, then what is wrong, then what is worth knowing."""
        theme = self.theme
        for child in self._notes.winfo_children():
            child.destroy()
        mended = {mend["text"] for mend in facts["mends"]}
        for mend in facts["mends"]:
            bar = ttk.Frame(self._notes, style="Card.TFrame", padding=theme.px(8))
            bar.pack(fill="x", pady=(0, theme.px(6)))
            bar.columnconfigure(0, weight=1)
            ttk.Label(bar, text=mend["text"], font=CAPTION, wraplength=theme.px(480)).grid(
                sticky="w", padx=theme.px(4))  # fmt: skip
            button = ttk.Button(bar, text=self.texts("pictures.mend"), style="Wide.TButton",
                                command=partial(self._mend, mend["folder_repeats"]))  # fmt: skip
            button.grid(row=0, column=1)
        lines = [(text, "Warning.TLabel") for text in facts["warnings"] if text not in mended]
        lines += self._of_contents(facts)
        lines += [(text, "Muted.TLabel") for text in (*facts["guesses"], *facts["notes"])]
        if facts["tags"]:
            tags = ", ".join(f"{tag} ({count})" for tag, count in facts["tags"][:TAGS_SHOWN])
            lines.append((self.texts("pictures.tags", tags=tags), "Muted.TLabel"))
        for text, style in lines:
            ttk.Label(self._notes, text=text, style=style, font=CAPTION,
                      wraplength=theme.px(640)).pack(anchor="w", pady=(0, theme.px(3)))  # fmt: skip

    def _of_contents(self, facts: dict[str, Any]) -> list[tuple[str, str]]:
        texts, lines = self.texts, []
        if not facts["complete"]:
            return [(texts("pictures.looking"), "Muted.TLabel")]
        for path, damage in list(facts["broken"].items())[:MOST_LINES]:
            lines.append((texts("pictures.broken", name=_name(path), damage=damage),
                          "Error.TLabel"))  # fmt: skip
        if facts["tiny"]:
            lines.append((texts("pictures.tiny", count=len(facts["tiny"]),
                                names=_names(facts["tiny"])), "Warning.TLabel"))  # fmt: skip
        for key, style in (("duplicates", "Warning.TLabel"), ("near_duplicates", "Muted.TLabel")):
            for group in facts[key][:NAMES_SHOWN]:
                lines.append((texts(f"pictures.{key}", names=_names(group)), style))
        return lines

    # --- mending -------------------------------------------------------------------------

    def _repeats(self) -> dict[str, Any]:
        entered = self.answers[REPEATS]
        return {} if is_unset(entered) else read_arguments(entered)

    def _mend(self, repeats: dict[str, int]) -> None:
        """Take folders in, or give them other repeats, as the button offers."""
        together = {**self._repeats(), **repeats}
        self.wizard.facts.of_folder[REPEATS] = together
        self.answers[REPEATS] = together

    def _repeat(self, folder: str, repeats: int) -> None:
        """The number of repeats of a folder was changed in the table."""
        self._mend({folder: repeats})

    # --- leaving -------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Until the pictures' headers are read; opening them all may take longer than Next."""
        return self._asking.busy and not self.wizard.facts.dataset

    def check(self) -> bool:
        """A folder, looked at, with pictures that can be used."""
        if not self.answers[SETTING] and not self.answers["dataset_config"]:
            self.show_error(SETTING, self.texts("pictures.needed"))
            return False
        if not super().check():
            return False
        if self._problem:
            self.show_error(SETTING, self._problem)
            return False
        return self._table.check()

    def show_error(self, name: str, message: str) -> None:
        """What is wrong with something that has no row here stands under the folder."""
        super().show_error(name if name in self.rows else SETTING, message)

    def closing(self) -> None:
        """End the child that looks at the pictures."""
        if self.frame:
            self._asking.close()


def _name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _names(paths: list[str]) -> str:
    more = f" … (+{len(paths) - NAMES_SHOWN})" if len(paths) > NAMES_SHOWN else ""
    return ", ".join(_name(path) for path in paths[:NAMES_SHOWN]) + more
