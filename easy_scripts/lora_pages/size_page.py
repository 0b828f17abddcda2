"""The page on which the sizes of the smaller LoRAs are chosen, by picture, slider or list."""

from __future__ import annotations

from pathlib import Path
from tkinter import ttk

from easy_scripts.lora_pages.file_facts import FactsReader, FileFacts
from easy_scripts.lora_pages.size_limits import LIMITED, most
from easy_scripts.lora_pages.size_table import SizeTable
from easy_scripts.lora_pages.spectrum import Spectrum
from easy_scripts.lora_pages.spectrum_picture import SpectrumPicture
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.slider import Slider
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.window import Wizard
from scripts.core.errors import SettingErrors
from scripts.settings.resize import ResizeSettings, read_resize_settings

UNKNOWN_LARGEST = 128  # the slider's end while nothing is known
PATIENCE = 400  # milliseconds without a change of the other settings before the LoRA is looked at


class SizePage(Page):
    """Sizes are the value of new_rank, a list; slider and picture choose one, the boxes several.

    Of several LoRAs the largest is shown until the user chooses another one.
    """

    name = "size"
    handles = ("new_rank",)
    more = ("new_conv_rank", "dynamic_method", "dynamic_param", "save_precision")

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        self.reader: FactsReader = wizard.facts.loras
        self.reader.watch(lambda _: self.frame and self.follow())
        self._file_chosen = False
        self._entered_with: list[str] = []
        self._job: str | None = None

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
        known = self._known()
        content = known.facts.get("spectrum") if known else None
        return Spectrum.from_facts(content) if content else None

    def _known(self) -> FileFacts | None:
        """What is known of the file shown; None while the other settings are not whole."""
        settings = self._other_settings()
        if not self.files or settings is None:
            return None
        first_param = settings.dynamic_param[0] if settings.dynamic_param else None
        values = (settings.new_conv_rank, settings.dynamic_method, first_param,
                  settings.save_precision)  # fmt: skip
        flags = [f"--{name}={value}" for name, value in zip(self.more, values, strict=True)
                 if value is not None]  # fmt: skip
        return self.reader.ask(self._file(), "--spectrum", *flags)

    def _other_settings(self) -> ResizeSettings | None:
        """What is set below the list, if it can be used as it stands."""
        config = self.answers.config()
        given = {name: config[name] for name in self.more if name in config}
        try:
            return read_resize_settings({"model": self.files, "new_rank": 1, **given})[0]
        except SettingErrors:
            return None

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
        self._chooser.bind("<<ComboboxSelected>>", lambda _: self._choose_file())
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
        self._table = SizeTable(body, self, self._toggle)
        self._table.pack(fill="x", pady=(0, theme.px(12)))
        self._about_table = ttk.Label(body, style="Muted.TLabel", font=CAPTION)
        content = self.add_fold(body, "frame.more")
        for name in self.more:
            self.add_row(content, name)
        self.answers.watch(self.follow, "new_rank")
        self.answers.watch(self._follow_later, *self.more)

    def enter(self) -> None:
        """Offer the files chosen meanwhile; the one shown is looked at."""
        if self.files != self._entered_with:
            self._entered_with, self._file_chosen = self.files, False
            self._chooser.configure(values=[Path(path).name for path in self.files])
            if self.answers.is_open("new_rank"):  # the size proposed for other files
                self.answers.withdraw("new_rank")
        if len(self.files) > 1:
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

    def _choose_file(self) -> None:
        self._file_chosen = True
        self.follow()

    def _choose_largest(self) -> None:
        """Let the largest file be shown, as far as sizes are known."""
        sizes = [most(self.reader.ask(path).facts, "new_rank") or 0 for path in self.files]
        self._chooser.current(sizes.index(max(sizes)))

    # --- showing -------------------------------------------------------------------------

    def _follow_later(self) -> None:
        if self._job:
            self.wizard.root.after_cancel(self._job)
        self._job = self.wizard.root.after(PATIENCE, self.follow)

    def follow(self) -> None:
        """Show what is chosen, and what it keeps as far as that is known."""
        if not self.files:
            return
        self._error.pack_forget()
        if len(self.files) > 1 and not self._file_chosen:
            self._choose_largest()
        spectrum, known = self.spectrum, self._known()
        looking = any(self.reader.ask(path).reading for path in self.files)
        if spectrum and not looking:
            knee = [min(spectrum.knee, spectrum.largest)]
            if self.answers.is_open("new_rank") and self.sizes != knee:
                self.answers.propose("new_rank", knee)
                return  # this method was called again by that
        sizes = self.sizes
        self._picture.show(spectrum, tuple(sizes), self._message(known))
        if spectrum:
            self._size.set_range(1, spectrum.largest)
            self._kept.pack(fill="x", pady=(0, self.theme.px(18)), after=self._size)
        else:
            self._kept.pack_forget()
        if sizes:
            self._size.put(sizes[-1])
            if spectrum:
                self._kept.put(100 * spectrum.kept_at(sizes[-1]))
        self._table.show(spectrum, sizes, spectrum.largest if spectrum else UNKNOWN_LARGEST)
        about = self._about_values()
        self._about_table.configure(text=about)
        if about:
            self._about_table.pack(anchor="w", pady=(0, self.theme.px(12)), after=self._table)
        else:
            self._about_table.pack_forget()

    def _about_values(self) -> str:
        """Of which dynamic value the list is, where there are several."""
        settings = self._other_settings()
        if settings is None or len(settings.dynamic_param) < 2:
            return ""
        return self.texts("size.first_value", value=f"{settings.dynamic_param[0]:g}")

    def _message(self, known: FileFacts | None) -> str:
        """What stands in place of the curve."""
        if known is None:
            return self.texts("size.not_whole")
        if known.problem:
            return known.problem
        return self.texts("size.reading" if known.reading else "size.unknown")

    # --- checking ------------------------------------------------------------------------

    def check(self) -> bool:
        """At least one size, none larger than what is there."""
        if not self._size.valid or (self._kept.winfo_manager() and not self._kept.valid):
            self.show_error("new_rank", self.texts("size.no_number"))
            return False
        if not self.sizes:
            self.show_error("new_rank", self.texts("size.needed"))
            return False
        return super().check() and self._none_too_large()

    def _none_too_large(self) -> bool:
        settings = self._other_settings()
        if settings.dynamic_method:
            return True
        for name, size in zip(LIMITED, (self.sizes[-1], settings.new_conv_rank), strict=True):
            limits = [most(self.reader.ask(path).facts, name) for path in self.files]
            if size is not None and None not in limits and size > max(limits):
                self.show_error(name, self.texts("size.above", size=size, largest=max(limits)))
                return False
        return True

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
