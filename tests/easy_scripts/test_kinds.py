"""Which build of PyTorch for which machine, and reading nvidia-smi."""

from __future__ import annotations

import time

import pytest

from easy_scripts.install import nvidia
from easy_scripts.install.kinds import KINDS, Gpu, choose_kind

RTX = (Gpu("NVIDIA GeForce RTX 3060", (8, 6), 12288),)
OLD_HEADER = """\
| NVIDIA-SMI 535.183.01             Driver Version: 535.183.01   CUDA Version: 12.2     |
|-----------------------------------------+----------------------+----------------------+
"""
NEW_HEADER = """\
| NVIDIA-SMI 590.26       KMD Version: 591.44       CUDA UMD Version: 13.1     |
+-----------------------------------------+------------------------+-----------+
"""


@pytest.mark.parametrize(
    ("platform", "gpus", "driver_cuda", "kind"),
    [
        ("linux", (), None, "cpu"),
        ("win32", (), None, "cpu"),
        ("darwin", (), None, "cpu"),
        ("darwin", RTX, (13, 0), "cpu"),
        ("linux", RTX, (13, 0), "cu130"),
        ("win32", RTX, (13, 1), "cu130"),
        ("win32", RTX, (14, 0), "cu130"),
        ("linux", RTX, (12, 9), "cu126"),
        ("win32", RTX, (12, 2), "cu126"),
        ("win32", RTX, None, "cu126"),
    ],
)
def test_choice(platform, gpus, driver_cuda, kind):
    choice = choose_kind(platform, gpus, driver_cuda, (3, 11))
    assert choice.kind == kind
    assert choice.kind in KINDS
    assert choice.reason.endswith(".")
    if gpus and platform != "darwin":
        assert "RTX 3060" in choice.reason


def test_every_kind_has_its_lock_and_its_place_in_the_index():
    for name, kind in KINDS.items():
        assert kind.index.endswith(f"/whl/{name}")
        digits = name.removeprefix("cu")
        expected = None if name == "cpu" else f"{digits[:2]}.{digits[2:]}"
        assert kind.cuda == expected


@pytest.mark.parametrize(
    ("header", "version"),
    [(OLD_HEADER, (12, 2)), (NEW_HEADER, (13, 1)), ("NVIDIA-SMI has failed", None), ("", None)],
)
def test_driver_version_in_both_headers(header, version):
    assert nvidia.parse_driver_cuda(header) == version


def test_cards_are_read_and_odd_lines_left_out():
    table = (
        "NVIDIA GeForce RTX 3060, 8.6, 12288\n"
        "Tesla M40, 5.2, [N/A]\n"
        "Quadro 600, [N/A], 1024\n"
        "No devices were found\n\n"
    )
    assert nvidia.parse_cards(table) == (
        Gpu("NVIDIA GeForce RTX 3060", (8, 6), 12288),
        Gpu("Tesla M40", (5, 2), None),
        Gpu("Quadro 600", None, 1024),
    )


def test_detect_puts_both_answers_together():
    def ask(arguments):
        return "NVIDIA GeForce RTX 3060, 8.6, 12288\n" if arguments else NEW_HEADER

    assert nvidia.detect(ask) == nvidia.Nvidia(RTX, (13, 1))
    assert nvidia.detect(lambda arguments: "") == nvidia.Nvidia()


def make_nvidia_smi(folder, monkeypatch, text):
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_missing_tool_means_no_card(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia.detect() == nvidia.Nvidia()


def test_a_failing_tool_means_no_card(tmp_path, monkeypatch):
    make_nvidia_smi(tmp_path, monkeypatch, "echo 'Tesla T4, 7.5, 15360'; exit 9")
    assert nvidia.detect() == nvidia.Nvidia()


def test_a_hanging_tool_means_no_card_and_costs_little(tmp_path, monkeypatch):
    make_nvidia_smi(tmp_path, monkeypatch, "exec sleep 30")
    monkeypatch.setattr(nvidia, "SECONDS", 0.3)
    started = time.monotonic()
    assert nvidia.detect() == nvidia.Nvidia()
    assert time.monotonic() - started < 5


def test_a_working_tool_is_believed(tmp_path, monkeypatch):
    make_nvidia_smi(
        tmp_path,
        monkeypatch,
        'if [ $# -gt 0 ]; then echo "Tesla T4, 7.5, 15360"; else echo "CUDA Version: 12.4"; fi',
    )
    assert nvidia.detect() == nvidia.Nvidia((Gpu("Tesla T4", (7, 5), 15360),), (12, 4))
