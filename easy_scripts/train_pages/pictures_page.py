"""Which pictures: what was found, what is wrong with it, how it is mended, the trigger word."""

from __future__ import annotations

from functools import partial
from tkinter import StringVar, ttk
from typing import Any

from easy_scripts.train_pages.folder_table import FolderTable
from easy_scripts.train_pages.thumbnails import Thumbnails
from easy_scripts.wizard.asking import Answer, Asking, short_path
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.theme import CAPTION
from scripts.core.declare import is_unset
from scripts.settings.train_reading import read_arguments

SETTING = "train_data_dir"
TAGS_SHOWN = 12
NAMES_SHOWN = 3
MOST_LINES = 6  # of what is worth knowing, before the rest is folded into a number
OF_PICTURES = (SETTING, "reg_data_dir", "dataset_config", "folder_repeats", "resolution",
               "caption_extension", "enable_bucket", "min_bucket_reso", "max_bucket_reso",
               "bucket_reso_steps", "bucket_no_upscale", "train_batch_size")  # fmt: skip


class PicturesPage(Page):
    """The folder, and below it what `scripts.inspect_dataset` says."""

    name = "pictures"
    handles = ("folder_repeats", "caption_prefix", "dataset_config")

    def build(self, body: ttk.Frame) -> None:
        """The row of the folder, findings, trigger word, folded regularisation pictures."""
        theme = self.theme
        self._asking = Asking(self.wizard, "scripts.inspect_dataset")
        self._asked: dict[str, Any] | None = None
        self._problem, self._wants_on = "", False
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
        self._make_trigger(self._findings)
        self._fold = self.add_fold(body, "pictures.regularisation")
        self.add_row(self._fold, "reg_data_dir")
        self.answers.watch(self._look, *OF_PICTURES)

    def _make_trigger(self, parent: ttk.Frame) -> None:
        theme = self.theme
        frame = ttk.Frame(parent)
        frame.pack(fill="x", pady=(theme.px(16), theme.px(6)))
        frame.columnconfigure(0, weight=1)
        ttk.Label(frame, text=self.texts("pictures.trigger")).grid(row=0, sticky="w")
        self._trigger_about = ttk.Label(frame, style="Muted.TLabel", font=CAPTION,
                                        wraplength=theme.px(420))  # fmt: skip
        self._trigger_about.grid(row=1, sticky="w")
        self._trigger = StringVar(frame)
        self.trigger_entry = ttk.Entry(frame, textvariable=self._trigger, width=24)
        self.trigger_entry.grid(row=0, column=1, rowspan=2, sticky="e")
        self._trigger.trace_add("write", lambda *_: self._trigger_typed())

    def enter(self) -> None:
        """Look at the folder."""
        self._look()

    def leave(self) -> None:
        """Nothing goes on by itself any more."""
        self._wants_on = False

    # --- looking -------------------------------------------------------------------------

    def _question(self) -> dict[str, Any]:
        config = {name: value for name, value in self.answers.config().items()
                  if name in OF_PICTURES}  # fmt: skip
        base = self.wizard.facts.get("base")
        if base:
            config.setdefault("resolution", base["resolution"])
        return config

    def _look(self) -> None:
        question = self._question()
        if question == self._asked or self.wizard.page is not self:
            return
        same_folder = self._asked and self._asked.get(SETTING) == question.get(SETTING)
        self._asked, self._problem = question, ""
        self._asking.close()
        if not same_folder:
            self.wizard.facts.pop("dataset", None)
            self._findings.pack_forget()
        self._choices.pack_forget()
        if not question.get(SETTING) or self.answers.error(SETTING):
            self._state.configure(text="")
            return
        if not same_folder:
            self._state.configure(text=self.texts("pictures.reading"))
        self._asking.ask_about(question, "--thumbnails", self._take, self._show)

    def _take(self, answer: Answer) -> None:
        if answer.problems:
            self._problem = answer.problem
            self._state.configure(text="")
            self._findings.pack_forget()
            self.rows[SETTING].show_error(self._problem)
            self._offer_choices(answer.facts.get("choices", []))
        elif self._wants_on and self.wizard.page is self:
            self.wizard.next()

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
        first = "dataset" not in self.wizard.facts
        self.wizard.facts["dataset"] = facts
        self.rows[SETTING].show_error(None)
        self._state.configure(text=self._sentence(facts))
        self._table.show(facts["folders"])
        if facts["complete"]:
            self._thumbnails.show([picture["thumbnail"] for picture in facts["pictures"]
                                   if not picture["is_reg"]])  # fmt: skip
        self._tell(facts)
        if first:
            self._propose_trigger(facts)
        self._explain_trigger(facts)
        self._findings.pack(fill="x", after=self._state)

    def _sentence(self, facts: dict[str, Any]) -> str:
        trained = [folder for folder in facts["folders"] if not folder["is_reg"]]
        pictures = sum(folder["pictures"] for folder in trained)
        captions = facts["captions"]
        missing = captions.get("missing", 0) + captions.get("empty", 0)
        parts = [self.texts("pictures.count", pictures=pictures, folders=len(trained))]
        if missing == 0:
            parts.append(self.texts("pictures.all_captions"))
        elif missing == pictures:
            parts.append(self.texts("pictures.no_captions"))
        else:
            parts.append(self.texts("pictures.some_captions", missing=missing))
        smallest, largest = (" × ".join(map(str, facts["sizes"][key]))
                             for key in ("smallest", "largest"))  # fmt: skip
        sizes = smallest if smallest == largest else f"{smallest} – {largest}"
        parts.append(self.texts("pictures.sizes", sizes=sizes))
        buckets = [f"{entry['width']} × {entry['height']}" for entry in facts["buckets"]]
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
        entered = self.answers["folder_repeats"]
        return {} if is_unset(entered) else read_arguments(entered)

    def _mend(self, repeats: dict[str, int]) -> None:
        self.answers["folder_repeats"] = {**self._repeats(), **repeats}

    def _repeat(self, folder: str, repeats: int) -> None:
        """The number of repeats of a folder was changed in the table."""
        self.answers["folder_repeats"] = {**self._repeats(), folder: repeats}
        self.wizard.facts["repeats_by_hand"] = True

    # --- trigger word --------------------------------------------------------------------

    def _propose_trigger(self, facts: dict[str, Any]) -> None:
        prefix = str(self.answers["caption_prefix"] or "").strip().rstrip(",")
        found = facts["trigger_word"] or {}
        self._trigger.set(prefix or found.get("word", ""))

    def _trigger_typed(self) -> None:
        word = self._trigger.get().strip()
        facts = self.wizard.facts.get("dataset", {})
        self.wizard.facts["trigger"] = word
        self.answers["caption_prefix"] = f"{word}, " if word and self._needed(word, facts) else None
        self._explain_trigger(facts)

    def _needed(self, word: str, facts: dict[str, Any]) -> bool:
        """Whether the word has to be put in front: not when the captions say it anyway."""
        pictures = [picture for picture in facts.get("pictures", []) if not picture["is_reg"]]
        return not all(word.lower() in picture["caption"].lower() for picture in pictures)

    def _explain_trigger(self, facts: dict[str, Any]) -> None:
        word = self._trigger.get().strip()
        if not word:
            key = "pictures.trigger_none"
        elif self.answers["caption_prefix"]:
            key = "pictures.trigger_front"
        else:
            key = "pictures.trigger_there"
        self._trigger_about.configure(text=self.texts(key, word=word) if word else self.texts(key))

    # --- leaving -------------------------------------------------------------------------

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
        if self._asking.busy and "dataset" not in self.wizard.facts:
            self._wants_on = True  # goes on by itself in a moment
            return False
        return True

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
