"""The page on which the sizes of the smaller LoRAs are chosen, by picture, slider or list."""

from __future__ import annotations

import tkinter
from pathlib import Path
from tkinter import ttk

from easy_scripts.lora_pages.file_facts import INSPECT_LORA, FactsReader
from easy_scripts.lora_pages.spectrum import Spectrum
from easy_scripts.lora_pages.spectrum_picture import SpectrumPicture
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.slider import Slider
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.window import Wizard

OFFERED = (4, 8, 16, 32, 64)
UNKNOWN_LARGEST = 128  # the slider's end while nothing is known


class SizePage(Page):
    """Sizes are the value of new_rank, a list; slider and picture choose one, the boxes several."""

    name = "size"
    handles = ("new_rank",)
    more = ("new_conv_rank", "dynamic_method", "dynamic_param", "save_precision")

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        self.reader = FactsReader(wizard, INSPECT_LORA, "--spectrum")
        self.reader.watch(lambda _: self.frame and self.follow())
        self._proposed = False
        self._boxes: dict[int, tuple[tkinter.BooleanVar, ttk.Frame]] = {}

    @property
    def sizes(self) -> list[int]:
        """The sizes chosen now, ascending."""
        value = self.answers["new_rank"]
        items = value if isinstance(value, list | tuple) else [value]
        return sorted({int(item) for item in items if str(item).isdigit()})

    @property
    def files(self) -> list[str]:
        """The LoRAs to make smaller."""
        return [str(path) for path in self.answers["model"]]

    @property
    def spectrum(self) -> Spectrum | None:
        """The spectrum of the file shown, when it is known already."""
        if not self.files:
            return None
        content = self.reader.ask(self._file()).facts.get("spectrum")
        return Spectrum.from_facts(content) if content else None

    def _file(self) -> str:
        chosen = self._chooser.current() if len(self.files) > 1 else 0
        return self.files[chosen] if 0 <= chosen < len(self.files) else self.files[0]

    # --- building ------------------------------------------------------------------------

    def build(self, body: ttk.Frame) -> None:
        """Which file, the picture, two sliders, the list of sizes, more settings."""
        theme, texts = self.theme, self.texts
        self._error = ttk.Label(body, style="Error.TLabel", wraplength=theme.px(600))
        self._choice = ttk.Frame(body)
        ttk.Label(self._choice, text=texts("size.file")).pack(side="left")
        self._chooser = ttk.Combobox(self._choice, state="readonly", width=44)
        self._chooser.pack(side="left", padx=theme.px(12))
        self._chooser.bind("<<ComboboxSelected>>", lambda _: self.follow())
        self._picture = SpectrumPicture(body, theme, texts, self.choose)
        self._picture.pack(fill="x", pady=(0, theme.px(12)))
        self._size = Slider(
            body,
            theme,
            texts("size.size"),
            1,
            UNKNOWN_LARGEST,
            32,
            lambda value: self.choose(round(value)),
            step=1,
            logarithmic=True,
        )
        self._size.pack(fill="x", pady=(0, theme.px(6)))
        self._kept = Slider(body, theme, texts("size.kept"), 0, 100, 100,
                            self._choose_share, step=1, suffix=" %")  # fmt: skip
        heading = ttk.Frame(body)
        heading.pack(fill="x", pady=(0, theme.px(4)))
        ttk.Label(heading, text=texts("size.list"), style="Strong.TLabel").pack(side="left")
        ttk.Label(heading, text=texts("size.list_help"), style="Muted.TLabel", font=CAPTION).pack(
            side="left", padx=theme.px(10))  # fmt: skip
        self._table = ttk.Frame(body)
        self._table.pack(fill="x", pady=(0, theme.px(12)))
        content = self.add_fold(body, "frame.more")
        for name in self.more:
            self.add_row(content, name)
        self.answers.watch(self.follow, "new_rank")

    def enter(self) -> None:
        """Offer the files chosen meanwhile; the one shown is looked at."""
        if len(self.files) > 1:
            self._chooser.configure(values=[Path(path).name for path in self.files])
            if self._chooser.current() < 0:
                self._chooser.current(0)
            self._choice.pack(fill="x", pady=(0, self.theme.px(10)), before=self._picture)
        else:
            self._choice.pack_forget()
        self.follow()

    # --- choosing ------------------------------------------------------------------------

    def choose(self, size: int) -> None:
        """Choose this size alone."""
        self.answers["new_rank"] = [max(1, size)]

    def _choose_share(self, percent: float) -> None:
        if self.spectrum:
            self.choose(self.spectrum.rank_keeping(min(100, percent) / 100))

    def _toggle(self, size: int) -> None:
        sizes = set(self.sizes) ^ {size}
        self.answers["new_rank"] = sorted(sizes)

    # --- showing -------------------------------------------------------------------------

    def follow(self) -> None:
        """Show what is chosen, and what it keeps as far as that is known."""
        if not self.files:
            return
        self._error.pack_forget()
        spectrum, facts = self.spectrum, self.reader.ask(self._file())
        if spectrum and not self.sizes and not self._proposed:
            self._proposed = True
            self.answers["new_rank"] = [min(spectrum.knee, spectrum.largest)]
            return  # this method was called again by that
        sizes = self.sizes
        message = self.texts("size.reading") if facts.reading else self.texts("size.unknown")
        self._picture.show(spectrum, tuple(sizes), message)
        if spectrum:
            self._size.set_range(1, spectrum.largest)
            self._kept.pack(fill="x", pady=(0, self.theme.px(18)), after=self._size)
        else:
            self._kept.pack_forget()
        if sizes:
            self._size.put(sizes[-1])
            if spectrum:
                self._kept.put(100 * spectrum.kept_at(sizes[-1]))
        self._fill_table(spectrum, sizes)

    def _fill_table(self, spectrum: Spectrum | None, sizes: list[int]) -> None:
        largest = spectrum.largest if spectrum else UNKNOWN_LARGEST
        wanted = sorted({size for size in OFFERED if size < largest} | set(sizes))
        for size in [size for size in self._boxes if size not in wanted]:
            self._boxes.pop(size)[1].destroy()
        for row, size in enumerate(wanted):
            if size not in self._boxes:
                self._boxes[size] = self._make_line(size)
            variable, line = self._boxes[size]
            variable.set(size in sizes)
            line.grid(row=row, sticky="ew")
            self._tell(line, size, spectrum)

    def _make_line(self, size: int) -> tuple[tkinter.BooleanVar, ttk.Frame]:
        theme, variable = self.theme, tkinter.BooleanVar(self._table)
        line = ttk.Frame(self._table)
        box = ttk.Checkbutton(line, text=self.texts("size.one", size=size), variable=variable,
                              command=lambda: self._toggle(size))  # fmt: skip
        box.grid(row=0, column=0, sticky="w")
        for column, width in enumerate((170, 130, 150, 150)):
            line.columnconfigure(column, minsize=theme.px(width))
        for column in (1, 2, 3):
            style = "Accent.TLabel" if column == 3 else "Muted.TLabel"
            ttk.Label(line, style=style).grid(row=0, column=column, sticky="w")
        return variable, line

    def _tell(self, line: ttk.Frame, size: int, spectrum: Spectrum | None) -> None:
        texts = ["", "", ""]
        if spectrum:
            texts[0] = self.texts("size.keeps", share=self.texts.percent(spectrum.kept_at(size)))
            texts[1] = self.texts.size(spectrum.bytes_at(size))
            texts[2] = self.texts("resize.recommended") if size == spectrum.knee else ""
        for label, text in zip(line.winfo_children()[1:], texts, strict=True):
            label.configure(text=text)

    # --- checking ------------------------------------------------------------------------

    def check(self) -> bool:
        """At least one size, none larger than what is there."""
        if not self.sizes:
            self.show_error("new_rank", self.texts("size.needed"))
            return False
        return super().check()

    def show_error(self, name: str, message: str) -> None:
        """Show what is wrong with the sizes above the picture."""
        if name in self.rows:
            super().show_error(name, message)
            return
        self._error.configure(text=message)
        self._error.pack(anchor="w", pady=(0, self.theme.px(10)), before=self._picture)
        self.frame.to_top()

    def focus_first(self) -> None:
        """The slider."""
        self._size.scale.focus_set()

    def closing(self) -> None:
        """End the children that look at files."""
        self.reader.close()
