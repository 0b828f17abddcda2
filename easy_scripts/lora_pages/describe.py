"""What a file is, in a line or two, from the facts that `scripts.inspect_lora` gives."""

from __future__ import annotations

from typing import Any

from easy_scripts.wizard.catalogue import Catalogue

TRIGGERS_SHOWN = 3


def describe(facts: dict[str, Any], texts: Catalogue) -> str:
    """Such as "SDXL · LoRA · size 128 (alpha 64) · 435 MB" and, below, the trigger words."""
    lines = [" · ".join(part for part in parts(facts, texts) if part)]
    words = [tag for tag, _ in facts.get("trigger_words", [])[:TRIGGERS_SHOWN]]
    if words:
        lines.append(texts("files.trigger", words=", ".join(words)))
    lines += facts.get("problems", [])
    return "\n".join(lines)


def parts(facts: dict[str, Any], texts: Catalogue) -> list[str]:
    """The pieces of the first line."""
    kinds = facts.get("network_types") or []
    size = facts.get("size_bytes")
    return [
        facts.get("family_title") or texts("files.no_family"),
        ", ".join(kinds),
        dims(facts, texts),
        texts.size(size) if size else "",
    ]


def dims(facts: dict[str, Any], texts: Catalogue) -> str:
    """The sizes and alphas of the layers."""
    return str(facts.get("dims") or "")
