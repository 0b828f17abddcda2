"""Which build of PyTorch for which machine, and reading nvidia-smi."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from private_python import posix_only

from easy_scripts.install import graphics, nvidia
from easy_scripts.install.card_names import capability_of
from easy_scripts.install.kinds import KINDS, Gpu, Graphics, choose_kind, ordinary_build
from easy_scripts.launcher.project import Project

DATA = json.loads((Path(__file__).parents[1] / "data/gpus/choices.json").read_text("utf-8"))
ROWS = DATA["rows"]
LOCKS = Project().locks
RTX = (Gpu("NVIDIA GeForce RTX 3060", (8, 6), 12288),)
OLD_HEADER = """\
| NVIDIA-SMI 535.183.01             Driver Version: 535.183.01   CUDA Version: 12.2     |
|-----------------------------------------+----------------------+----------------------+
"""
NEW_HEADER = """\
| NVIDIA-SMI 590.26       KMD Version: 591.44       CUDA UMD Version: 13.1     |
+-----------------------------------------+------------------------+-----------+
"""


def version(text):
    """ "12.6" as (12, 6); None stays None."""
    return tuple(int(part) for part in text.split(".")) if text else None


def cards(row):
    """The card of a row, as it would be found."""
    if row["gpu"] is None:
        return ()
    vendor = next(
        vendor
        for vendor in ("nvidia", "intel", "amd")
        if row["gpu"].lower().startswith(vendor) or (vendor == "nvidia" and row["capability"])
    )
    return (Gpu(row["gpu"], version(row["capability"]), vendor=vendor),)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['gpu']} {row['driver']}")
def test_choice(row):
    driver_cuda, python = version(row["driver_cuda"]), version(row["python"])
    choice = choose_kind(row["platform"], cards(row), driver_cuda, python)
    assert choice.kind == row["kind"]
    assert row["reason_says"] in choice.reason
    assert choice.reason.endswith(".")
    if row["gpu"] and python in ((3, 10), (3, 11), (3, 12), (3, 13)):
        assert row["gpu"] in choice.reason


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['gpu']} {row['driver']}")
def test_the_expected_choices_agree_with_the_public_tables(row):
    """A build holds code for a card when it names its capability or a lower one of that major."""
    assert row["sources"] and set(row["sources"]) <= set(DATA["sources"])
    if row["driver"]:
        assert DATA["drivers"]["cuda"][row["driver"].split(".")[0]] == row["driver_cuda"]
    build = DATA["builds"].get(row["kind"])
    if build and row["capability"]:
        card = version(row["capability"])
        named = [version(text) for text in build["architectures"]]
        assert any(code[0] == card[0] and code <= card for code in named)
        if row["driver_cuda"]:
            assert row["driver_cuda"].split(".")[0] >= row["kind"][2:4]
    if row["capability"]:
        # by the name alone, one capability stands for the generation
        told = capability_of(row["gpu"])
        assert told[0] == version(row["capability"])[0]
        if "capability" in row["sources"]:
            assert told == version(row["capability"])
        if row["driver"]:  # a driver that does not tell it leads to the same choice
            card = Gpu(row["gpu"], told)
            driver, python = version(row["driver_cuda"]), version(row["python"])
            assert choose_kind(row["platform"], (card,), driver, python).kind == row["kind"]


def test_there_are_enough_rows():
    assert len(ROWS) >= 40


def test_an_nvidia_card_is_preferred_and_the_newest_of_two():
    arc, old = Gpu("Intel(R) Arc(TM) Graphics", vendor="intel"), Gpu("GTX 1080", (6, 1), 8192)
    assert choose_kind("win32", (arc, *RTX), (13, 0), (3, 11)).kind == "cu130"
    choice = choose_kind("win32", (old, *RTX), (13, 0), (3, 11))
    assert choice.kind == "cu130" and "RTX 3060" in choice.reason


RADEON_CARD = Gpu("AMD Radeon RX 7900 XTX", None, 24560, "amd")
RYZEN = Gpu("AMD Radeon(TM) Graphics", None, 512, "amd")
UHD = Gpu("Intel(R) UHD Graphics 770", None, 128, "intel")
ARC_CARD = Gpu("Intel(R) Arc(TM) A770 Graphics", None, 16288, "intel")
OWN_ARC = Gpu("Intel(R) Arc(TM) Graphics", None, 128, "intel")
GT_710 = Gpu("NVIDIA GeForce GT 710", (3, 5), 2048)
FUTURE = Gpu("NVIDIA GeForce RTX 9090", (15, 0), 49152)


@pytest.mark.parametrize(
    ("gpus", "driver_cuda", "kind", "named"),
    [
        ((UHD, RADEON_CARD), None, "cpu", "AMD Radeon RX 7900 XTX was found, but PyTorch"),
        ((Gpu(UHD.name, vendor="intel"), Gpu(RADEON_CARD.name, vendor="amd")), None, "cpu",
         "AMD Radeon RX 7900 XTX was found, but PyTorch"),
        ((RYZEN, RADEON_CARD), None, "cpu", "AMD Radeon RX 7900 XTX was found"),
        ((GT_710, RADEON_CARD), (11, 4), "cpu", "AMD Radeon RX 7900 XTX was found"),
        ((RYZEN, GT_710), (11, 4), "cpu", "NVIDIA GeForce GT 710 is too old"),
        ((GT_710, ARC_CARD), (11, 4), "xpu", "Arc(TM) A770 Graphics was found"),
        ((RADEON_CARD, OWN_ARC, ARC_CARD), None, "xpu", "Arc(TM) A770 Graphics was found"),
        ((FUTURE, *RTX), (15, 0), "cu130", "RTX 3060 was found"),
        ((OWN_ARC, *RTX), (11, 6), None, "RTX 3060 was found, but its driver"),
    ],
)  # fmt: skip
def test_of_several_cards_the_best_that_can_be_used_decides(gpus, driver_cuda, kind, named):
    for order in (gpus, gpus[::-1]):
        choice = choose_kind("win32", order, driver_cuda, (3, 12))
        assert choice.kind == kind and named in choice.reason


def test_a_card_from_the_future_and_one_without_a_known_name():
    choice = choose_kind("win32", (Gpu("GeForce RTX 9090", (15, 0)),), (15, 0), (3, 12))
    assert choice.kind == "cpu" and "newer" in choice.reason
    assert choose_kind("win32", (Gpu("Graphics Device"),), (13, 1), (3, 12)).kind == "cu130"
    assert choose_kind("win32", (Gpu("Graphics Device"),), (12, 4), (3, 12)).kind == "cu126"


def test_every_kind_has_its_lock_and_its_place_in_the_index():
    for name, kind in KINDS.items():
        assert kind.index.endswith(f"/whl/{name}")
        digits = name.removeprefix("cu")
        assert kind.cuda == (f"{digits[:2]}.{digits[2:]}" if digits.isdigit() else None)
        assert (LOCKS / f"{name}.txt").is_file()


@pytest.mark.parametrize(
    ("torch", "kind"),
    [
        ({"version": "2.13.0+cpu", "cuda": None, "xpu": None}, "cpu"),
        ({"version": "2.13.0+cu126", "cuda": "12.6", "xpu": None}, "cu126"),
        ({"version": "2.13.0+cu130", "cuda": "13.0"}, "cu130"),
        ({"version": "2.13.0+xpu", "cuda": None, "xpu": "20250301"}, "xpu"),
    ],
)
def test_which_build_arrived(torch, kind):
    assert [name for name, each in KINDS.items() if each.is_build(torch)] == [kind]


@pytest.mark.parametrize(("platform", "kind"), [("win32", "cpu"), ("linux", "cu130")])
def test_which_build_the_ordinary_source_has(platform, kind):
    assert ordinary_build(platform) == kind


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
        "Graphics Device, [N/A], 1024\n"
        "No devices were found\n\n"
    )
    assert nvidia.parse_cards(table) == (
        Gpu("NVIDIA GeForce RTX 3060", (8, 6), 12288),
        Gpu("Tesla M40", (5, 2), None),
        Gpu("Graphics Device", None, 1024),
    )


def test_detect_puts_both_answers_together():
    def ask(arguments):
        return "NVIDIA GeForce RTX 3060, 8.6, 12288\n" if arguments else NEW_HEADER

    assert nvidia.detect(ask) == Graphics(RTX, (13, 1))
    assert nvidia.detect(lambda arguments: "") == Graphics()


def test_an_old_tool_that_does_not_know_capabilities():
    def ask(arguments):
        if not arguments:
            return OLD_HEADER
        if "compute_cap" in arguments[0]:
            return ""  # 'Field "compute_cap" is not a valid field to query.', exit code 2
        return "GeForce GTX 1080, GeForce GTX 1080, 8192\n"

    assert nvidia.detect(ask) == Graphics((Gpu("GeForce GTX 1080", (6, 1), 8192),), (12, 2))


GEFORCE = {
    "DriverDesc": "NVIDIA GeForce RTX 4070",
    "MatchingDeviceId": r"PCI\VEN_10DE&DEV_2786",
    "DriverVersion": "31.0.15.3623",
    "HardwareInformation.qwMemorySize": 12 << 30,
}
ARC = {"DriverDesc": "Intel(R) Arc(TM) A770 Graphics", "MatchingDeviceId": r"pci\ven_8086&dev_56a0"}
RADEON = {"DriverDesc": "AMD Radeon RX 7600", "MatchingDeviceId": r"PCI\VEN_1002&DEV_7480"}
BASIC = {"DriverDesc": "Microsoft Basic Display Adapter", "MatchingDeviceId": r"ROOT\BasicDisplay"}


def test_without_nvidia_smi_the_registry_tells_card_and_driver():
    found = graphics.detect(lambda arguments: None, lambda: [ARC, BASIC, GEFORCE, {}])
    assert found.driver_cuda == (12, 0)
    assert found.gpus == (
        Gpu(ARC["DriverDesc"], vendor="intel"),
        Gpu("NVIDIA GeForce RTX 4070", (8, 9), 12288),
    )
    assert choose_kind("win32", found.gpus, found.driver_cuda, (3, 12)).kind == "cu126"


@pytest.mark.parametrize(
    ("present", "found"),
    [
        (["0001"], ["Intel(R) Arc(TM) A770 Graphics"]),
        (["0000"], ["NVIDIA GeForce RTX 4070"]),
        ([], ["NVIDIA GeForce RTX 4070", "Intel(R) Arc(TM) A770 Graphics"]),  # Windows cannot tell
    ],
)
def test_a_card_that_was_taken_out_is_not_found(monkeypatch, present, found):
    """Windows keeps its entry for ever."""
    group = graphics.DISPLAY_CLASS
    keys = {rf"{group}\0000": GEFORCE, rf"{group}\0001": ARC}
    keys |= {
        rf"{graphics.DEVICES}\PCI\{name}": {"Driver": rf"{{4d36e968}}\{name}"} for name in present
    }

    class Registry:
        HKEY_LOCAL_MACHINE = None

        @contextmanager
        def OpenKey(self, above, path):  # noqa: N802 - Windows' name
            yield path if above is None else rf"{above}\{path}"

        def QueryInfoKey(self, key):  # noqa: N802
            return (2,)

        def EnumKey(self, key, number):  # noqa: N802
            return f"{number:04}"

        def QueryValueEx(self, key, name):  # noqa: N802
            if name not in keys[key]:
                raise OSError(name)
            return keys[key][name], None

    monkeypatch.setattr(graphics.sys, "platform", "win32")
    monkeypatch.setattr(graphics, "winreg", Registry(), raising=False)
    monkeypatch.setattr(graphics, "present_devices", lambda: [rf"PCI\{name}" for name in present])
    assert [gpu.name for gpu in graphics.detect(lambda _: None).gpus] == found


def test_nvidia_smi_is_believed_more_than_the_registry():
    def ask(arguments):
        return "NVIDIA GeForce RTX 3060, 8.6, 12288\n" if arguments else NEW_HEADER

    found = graphics.detect(ask, lambda: [GEFORCE, RADEON])
    assert found == Graphics((*RTX, Gpu("AMD Radeon RX 7600", vendor="amd")), (13, 1))


@pytest.mark.parametrize(
    ("windows_number", "cuda"),
    [
        ("32.0.15.8088", (13, 0)),  # 580.88
        ("32.0.15.6636", (12, 0)),  # 566.36
        ("31.0.15.2849", (12, 0)),  # 528.49
        ("31.0.15.1694", (11, 0)),  # 516.94
        ("", None),
    ],
)
def test_windows_numbers_of_drivers(windows_number, cuda):
    assert graphics.cuda_of_driver(windows_number) == cuda


def make_nvidia_smi(folder, monkeypatch, text):
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("Quadro K620", (5, 0)),  # these three of the K series are Maxwells
        ("NVIDIA Quadro K1200", (5, 0)),
        ("Quadro K2200M", (5, 0)),
        ("Quadro K2000", (3, 5)),
        ("NVIDIA GeForce MX110", (5, 0)),
        ("NVIDIA GeForce MX130", (5, 0)),
        ("NVIDIA GeForce MX150", (6, 1)),
        ("NVIDIA GeForce MX330", (6, 1)),
    ],
)
def test_series_with_two_generations(name, capability):
    assert capability_of(name) == capability


def test_a_missing_tool_means_no_card(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia.detect() == Graphics()


@posix_only
def test_a_failing_tool_means_no_card(tmp_path, monkeypatch):
    make_nvidia_smi(tmp_path, monkeypatch, "echo 'Tesla T4, 7.5, 15360'; exit 9")
    assert nvidia.detect() == Graphics()


@posix_only
def test_a_hanging_tool_means_no_card_and_costs_little(tmp_path, monkeypatch):
    make_nvidia_smi(tmp_path, monkeypatch, "exec sleep 30")
    monkeypatch.setattr(nvidia, "SECONDS", 0.3)
    started = time.monotonic()
    assert nvidia.detect() == Graphics()
    assert time.monotonic() - started < 5


@posix_only
def test_a_working_tool_is_believed(tmp_path, monkeypatch):
    make_nvidia_smi(
        tmp_path,
        monkeypatch,
        'if [ $# -gt 0 ]; then echo "Tesla T4, 7.5, 15360"; else echo "CUDA Version: 12.4"; fi',
    )
    assert nvidia.detect() == Graphics((Gpu("Tesla T4", (7, 5), 15360),), (12, 4))
