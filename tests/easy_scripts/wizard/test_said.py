"""What set-up and the doctor say in English is shown in the language of the windows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from easy_scripts.install import bitsandbytes_patch, known_failures, surroundings
from easy_scripts.install.doctor import USE_CARD
from easy_scripts.install.failures import FAILURES, HANGING, RUN_AGAIN
from easy_scripts.install.kinds import KINDS, NOT_USED, Gpu, choose_kind
from easy_scripts.install.make_environment import Wishes, describe_plan
from easy_scripts.install.packages import Findings
from easy_scripts.install.place_checks import Finding, cloud_folder, free_space, path_length
from easy_scripts.install.self_test import BAKING, Proof, ready_line
from easy_scripts.launcher.project import Project
from easy_scripts.wizard.catalogue import Catalogue

ROOT = Path(__file__).resolve().parents[3]
ROWS = json.loads((ROOT / "tests/data/gpus/choices.json").read_text("utf-8"))["rows"]
JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
JAPANESE_TEXTS, ENGLISH_TEXTS = Catalogue(language="ja"), Catalogue(language="en")
ENGLISH_SENTENCE = re.compile(r"\b(the|is|are|was|not|and|of|with|for|your)\b")


def findings(*several: Finding | list[Finding] | None) -> list[str]:
    """Causes and remedies, by themselves and as one text."""
    flat = []
    for each in several:
        flat += each if isinstance(each, list) else [each]
    return [text for each in flat for text in (each.cause, each.remedy, each.sentence)]


def stages() -> list[str]:
    """The steps of set-up, as the source names them."""
    found = []
    for path in (ROOT / "easy_scripts/install").glob("*.py"):
        found += re.findall(r'Stage\(f?"([^"]+)"', path.read_text(encoding="utf-8"))
    assert len(found) >= 9
    return [BAKING, *(re.sub(r"\{[^}]*\}", "7", name).removesuffix(", MB") for name in found)]


def said_by_setup() -> list[str]:
    """Sentences as they really come."""
    rtx = (Gpu("NVIDIA GeForce RTX 3060", (8, 6)),)
    reasons = [choose_kind("win32", (Gpu("RTX 9090", (15, 0)),), (15, 0), (3, 12)).reason,
               choose_kind("win32", rtx, None, (3, 12)).reason]  # fmt: skip
    for row in ROWS:
        capability = row["capability"] and tuple(int(part) for part in row["capability"].split("."))
        driver = row["driver_cuda"] and tuple(int(part) for part in row["driver_cuda"].split("."))
        vendor = (row["gpu"] or "").split()[0].lower() if row["gpu"] else ""
        gpu = Gpu(row["gpu"], capability, vendor=vendor if vendor in ("intel", "amd") else "nvidia")
        python = tuple(int(part) for part in row["python"].split("."))
        if (3, 10) <= python <= (3, 13) and row["platform"] != "darwin":
            cards = (gpu,) if row["gpu"] else ()
            reasons.append(choose_kind(row["platform"], cards, driver, python).reason)
    stamp = {"device": "NVIDIA GeForce RTX 3060 12 GB", "eight_bit": {"works": True}}
    packages = {"tiny": "1.0"}
    return [
        *reasons, *(kind.title for kind in KINDS.values()), *stages(),
        *(f"PyTorch could not be installed. {sentence} Log: C:\\x\\y.log".replace("{what}", "torch")
          for _, sentence in FAILURES),
        *(f"{doing}: {HANGING} Log: C:/x.log"
          for doing in ("The environment could not be checked", "The practice bake failed")),
        f"PyTorch could not be installed: the system stopped it, perhaps for want of memory. "
        f"{RUN_AGAIN}",
        *(ready_line(stamp, proof, in_window=True)
          for proof in (Proof(0, 14.2), Proof(), Proof(1, 3.0))),
        ready_line({}, Proof()),
        ready_line({"eight_bit": {"reason": bitsandbytes_patch.HANGS}}, Proof()),
        f"{reasons[0]} {NOT_USED}", USE_CARD,
        *(text for _, *pair, _ in known_failures.KNOWN for text in pair),
        f"{known_failures.KNOWN[0][1]} (Seen in train-1.log.)",
        *findings(
            path_length("C:\\" + "x" * 80, "win32", False), cloud_folder("C:/OneDrive/x", {}),
            free_space(Path.cwd(), 10**6), surroundings.memory(8 * 2**30),
            surroundings.spilling(_graphics(rtx), "win32"),
            surroundings.variables({name: "x" for name, _, _ in surroundings.VARIABLES}),
            surroundings.windows_possible({}, "linux")[:1],
        ),
        f"{Findings(packages, {}).shortcoming} Start set-up again; if it stays so, the log tells "
        "more: C:/x.log",
        Findings(packages, packages, {"tiny": "x.dll: gone"}).shortcoming,
        Findings(packages, packages, {}, {"tiny": "OSError"}).shortcoming,
    ]  # fmt: skip


def _graphics(gpus):
    from easy_scripts.install.kinds import Graphics

    return Graphics(gpus, (13, 0))


@pytest.mark.parametrize("text", sorted(set(said_by_setup())))
def test_it_is_said_in_japanese(text):
    translated = JAPANESE_TEXTS.said(text)
    assert JAPANESE.search(translated), translated
    unknown = re.sub(r'"[^"]*"|`[^`]*`', "", translated)
    assert not ENGLISH_SENTENCE.search(unknown), translated
    assert ENGLISH_TEXTS.said(text) == text


def test_the_plan_is_told_in_japanese(tmp_path, monkeypatch):
    monkeypatch.setattr("easy_scripts.install.place_checks.shutil.disk_usage",
                        lambda path: type("Disk", (), {"free": 10**12})())  # fmt: skip
    plan = describe_plan(Project(tmp_path), Wishes(kind="cu126"))
    assert plan.endswith("About 3 GB to download, 8 GB on the disk.")
    assert JAPANESE_TEXTS.said(plan) == (
        "種類「cu126」が指定されました。\nNVIDIA カード（CUDA 12.6）用の PyTorch を使います。\n"
        "ダウンロードは約 3 GB、ディスクは 8 GB 必要です。"
    )


def test_what_nobody_translated_stays_as_it_is():
    assert JAPANESE_TEXTS.said("An odd thing. Happened here.") == "An odd thing. Happened here."
    assert JAPANESE_TEXTS.said("The disk is full. An odd thing.") == (
        "ディスクがいっぱいです。\nAn odd thing."
    )
