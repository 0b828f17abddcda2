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
    size, alpha = _span(facts["dims"]), _span(facts["alphas"])
    return texts("files.size_alpha", size=size, alpha=alpha)


def _span(counts: dict[str, dict[str, int]]) -> str:
    """Of the numbers counted for the parts of a model, {"unet_linear": {"32": 192}}: the one, or
    the least and the greatest."""
    values = [float(number) for part in counts.values() for number in part]
    low, high = f"{min(values):g}", f"{max(values):g}"
    return low if low == high else f"{low}–{high}"
