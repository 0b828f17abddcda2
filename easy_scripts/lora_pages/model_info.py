"""What checkpoints are, told under their rows by `scripts.inspect_model` in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from easy_scripts.lora_pages.file_facts import FactsReader, FileFacts
from easy_scripts.wizard.page import Page


class ModelInfo:
    """Follows the rows `names` of a page; `changed` is called when something became known. Of the
    kinds of files "single_file", "ckpt" and "diffusers" only the `layouts` can be used."""

    def __init__(
        self, page: Page, names: tuple[str, ...], layouts: tuple[str, ...],
        changed: Callable[[], None],
    ) -> None:  # fmt: skip
        self._page, self._names, self._changed = page, names, changed
        self._layouts = layouts
        self.reader = FactsReader(page.wizard, "scripts.inspect_model")
        self.reader.watch(lambda _: self.tell())
        page.answers.watch(self.tell, *names)

    def of(self, name: str) -> FileFacts | None:
        """What is known of the model in the row `name`; None when there is no such file."""
        path = str(self._page.answers[name] or "")
        return self.reader.ask(path) if path and not self._page.answers.error(name) else None

    def tell(self) -> None:
        """Put what is known under the rows."""
        for name in self._names:
            row, known = self._page.rows.get(name), self.of(name)
            if row is None:
                continue
            if known is None or (known.problem and not known.facts):
                row.show_info(None)
            elif known.reading:
                row.show_info(self._page.texts("files.reading"))
            else:
                row.show_info(self._about(known.facts))
        self._changed()

    def _about(self, facts: dict[str, Any]) -> str:
        if not facts:
            return self._page.texts("files.unreadable")
        return "\n".join([facts["title"], *facts.get("notes", [])])

    def check(self) -> bool:
        """Whether every model can be used; says why not under its row."""
        wrong = {name: why for name in self._names if (why := self.refusal(name))}
        for name, why in reversed(wrong.items()):
            self._page.show_error(name, why)
        return not wrong

    def refusal(self, name: str) -> str | None:
        """Why the model in the row `name` cannot be used, as far as it is known."""
        known = self.of(name)
        layout = known.facts.get("layout") if known else None
        if layout and layout not in self._layouts:
            return self._page.texts(f"models.is_{layout}")
        return known.problem if known else None
