"""What a LoRA file is, in a line or two, from the facts that `scripts.inspect_lora` gives."""

from __future__ import annotations

from typing import Any

from easy_scripts.wizard.catalogue import Catalogue

TRIGGERS_SHOWN = 3
TITLES = {
    "lora": "LoRA", "tucker": "LoRA (Tucker)", "dora": "DoRA", "loha": "LoHa", "lokr": "LoKr",
    "diff": "full matrices",
}  # fmt: skip


def describe(facts: dict[str, Any], texts: Catalogue) -> str:
    """Such as "SDXL · LoRA · size 128, alpha 64 · 435 MB" and, below, the trigger words."""
    kinds = [texts.said(TITLES.get(kind, kind)) for kind in facts.get("network_types") or ()]
    parts = [
        facts.get("family_title") or texts("files.no_family"),
        ", ".join(kinds),
        _sizes(facts, texts),
        texts.size(facts["size_bytes"]),
    ]
    lines = [" · ".join(part for part in parts if part)]
    words = [tag for tag, _ in facts.get("trigger_words", [])[:TRIGGERS_SHOWN]]
    if words:
        lines.append(texts("files.trigger", words=", ".join(words)))
    return "\n".join([*lines, *facts.get("problems", [])])


def _sizes(facts: dict[str, Any], texts: Catalogue) -> str:
    dims, alphas = numbers(facts.get("dims")), numbers(facts.get("alphas"))
    if not dims:
        return ""
    if not alphas:
        return texts("files.size", size=span(dims))
    return texts("files.size_alpha", size=span(dims), alpha=span(alphas))


def numbers(content: Any) -> list[float]:
    """All numbers that a table of counts is about, such as {"unet": {"32": 192, "16": 4}}."""
    if isinstance(content, dict):
        found: set[float] = set()
        for key, value in content.items():
            found |= {float(key)} if _is_number(key) else set(numbers(value))
        return sorted(found)
    if isinstance(content, list | tuple):
        return sorted({number for item in content for number in numbers(item)})
    return [float(content)] if _is_number(content) else []


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


def span(values: list[float]) -> str:
    """One number, or the least and the greatest."""
    low, high = f"{values[0]:g}", f"{values[-1]:g}"
    return low if low == high else f"{low}–{high}"
