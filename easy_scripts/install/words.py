"""Figures in the words of people."""


def in_words(seconds: float) -> str:
    """Such as "40 s" and "3 min"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def split_unit(stage: str) -> tuple[str, str]:
    """The name of a counted stage and what it is counted in: "Downloading torch, MB"."""
    name, _, unit = stage.partition(", ")
    return (name, unit) if unit == "MB" else (stage, "")
