"""The bitsandbytes patch on made-up packages, and on the real one.

The made-up torch and bitsandbytes do what matters here: torch tells a CUDA version, and the
optimiser's step fails unless the library is there that this bitsandbytes would choose.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import venv
from pathlib import Path

import pytest

from easy_scripts.install import bitsandbytes_patch, eight_bit_step
from easy_scripts.install.bitsandbytes_patch import best_library, is_too_old, patch
from easy_scripts.install.pip_steps import Workshop
from easy_scripts.install.skeleton import site_packages
from easy_scripts.launcher.handover import DLL_FOLDER
from easy_scripts.launcher.project import Project
from scripts.core.events import Note

ROOT = Path(__file__).resolve().parents[2]
CUDA_TORCH = """
from types import SimpleNamespace
uint8 = "uint8"
version = SimpleNamespace(cuda={cuda!r}, xpu=None)
CARD = SimpleNamespace(name="NVIDIA GeForce RTX 3060", total_memory=12 * 2**30 - 5000)
cuda = SimpleNamespace(
    is_available=lambda: {cuda!r} is not None, get_device_properties=lambda number: CARD
)
class Weight:
    value = 1.0
    square = sum = detach = lambda self: self
    backward = lambda self: None
    mean = lambda self: self.value
def ones(*shape, device, requires_grad):
    return Weight()
"""
OPTIM = """
import os
from pathlib import Path
from types import SimpleNamespace
import torch
HERE = Path(__file__).parent
class AdamW8bit:
    def __init__(self, weights, lr, weight_decay):
        self.weights, self.rate, self.decay, self.state = weights, lr, weight_decay, {{}}
    def step(self):
        told = os.environ.get("BNB_CUDA_VERSION")
        library = told or (torch.version.cuda or "cpu").replace(".", "")
        name = f"libbitsandbytes_{{'' if library == 'cpu' else 'cuda'}}{{library}}.dll"
        if not (HERE / name).exists():
            raise RuntimeError(f"No compatible CUDA binary found at {{name}}\\nmore\\n")
        {more}
        self.state[0] = {{"state1": SimpleNamespace(dtype={dtype})}}
        for weight in self.weights:
            weight.value -= self.rate + self.rate * self.decay
"""
NEEDS_DLL_FOLDER = f'if "{DLL_FOLDER}" not in os.environ: raise OSError("cudart is not found")'


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A private environment without packages."""
    project = Project(tmp_path_factory.mktemp("bare") / "Easy LoRA ü")
    venv.create(project.environment, with_pip=False, symlinks=os.name == "posix")
    for name in ("easy_scripts", "scripts/core"):
        shutil.copytree(ROOT / name, project.root / name)
    (project.root / "scripts" / "__init__.py").touch()
    return project


class Made:
    """A made-up environment, what `patch` says of it, and how often it was installed anew."""

    def __init__(self, project, log):
        self.project, self.site, self.notes, self.installed = project, site_packages(project), [], 0
        self.log = log

    def torch(self, cuda):
        (self.site / "torch" / "lib").mkdir(parents=True)
        (self.site / "torch" / "__init__.py").write_text(CUDA_TORCH.format(cuda=cuda))

    def bitsandbytes(self, *cuda, version="0.50.2", folder=None, more="pass", dtype="torch.uint8"):
        site = folder or self.site
        package = site / "bitsandbytes"
        shutil.rmtree(package, ignore_errors=True)
        package.mkdir(parents=True)
        names = ["__init__.py", "optim.py", *(f"libbitsandbytes_{each}.dll" for each in cuda)]
        for name in names:
            (package / name).write_text("")
        (package / "optim.py").write_text(OPTIM.format(more=more, dtype=dtype))
        about = site / "bitsandbytes-0.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text(f"Name: bitsandbytes\nVersion: {version}\n")
        (about / "RECORD").write_text("".join(f"bitsandbytes/{name},,\n" for name in names))
        return package

    def patch(self, platform="win32", reinstall=None):
        def install():
            self.installed += 1
            if reinstall:
                reinstall()

        def report(event):
            if isinstance(event, Note):
                self.notes.append(event.text)

        with (self.log / "log.txt").open("a", encoding="utf-8") as log:
            workshop = Workshop(self.project, log, self.log / "log.txt", 0)
            return patch(workshop, install, report, platform)


@pytest.fixture
def made(bare, tmp_path):
    project = Project(tmp_path / "Easy LoRA ü")
    shutil.copytree(bare.root, project.root, symlinks=True)
    return Made(project, tmp_path)


def test_a_package_in_order_is_left_alone(made):
    made.torch("12.6")
    made.bitsandbytes("cuda118", "cuda126", "cpu")
    result = made.patch()
    assert (result.works, result.environment, made.notes, made.installed) == (True, {}, [], 0)
    assert result.device == "NVIDIA GeForce RTX 3060 12 GB"


def test_without_a_card_the_library_for_the_processor_will_do(made):
    made.torch(None)
    made.bitsandbytes("cuda126", "cpu")
    result = made.patch()
    assert result.works and not made.notes
    assert result.device == "the processor"


def test_no_library_for_this_cuda_names_the_right_one(made):
    made.torch("12.9")
    made.bitsandbytes("cuda118", "cuda124", "cuda128", "cuda130")
    result = made.patch()
    assert result.works
    assert result.environment == {"BNB_CUDA_VERSION": "128"}
    assert made.installed == 0
    assert made.notes == ["bitsandbytes is told to use its library for CUDA 12.8."]


def test_a_variable_of_another_program_is_not_passed_on(made, monkeypatch):
    monkeypatch.setenv("BNB_CUDA_VERSION", "117")
    made.torch("12.6")
    made.bitsandbytes("cuda126")
    assert made.patch().works


def test_a_package_from_before_the_dlls_is_replaced(made):
    made.torch("12.6")
    made.bitsandbytes(version="0.42.0")
    result = made.patch(reinstall=lambda: made.bitsandbytes("cuda126"))
    assert result.works and made.installed == 1
    assert made.notes == ["bitsandbytes 0.42.0 had no library that fits; it was installed anew."]


def test_a_missing_package_is_installed(made):
    made.torch("13.0")
    result = made.patch(reinstall=lambda: made.bitsandbytes("cuda130"))
    assert result.works and made.installed == 1


def test_only_libraries_of_another_major_version_are_of_no_use(made):
    made.torch("13.0")
    made.bitsandbytes("cuda126", "cuda128")
    result = made.patch()
    assert not result.works
    assert "BNB_CUDA_VERSION" not in result.environment
    assert made.installed == 1  # the locked version might have had one
    assert "No compatible CUDA binary found" in result.reason and "\n" not in result.reason


def test_torchs_own_libraries_are_put_where_windows_looks(made):
    made.torch("12.6")
    made.bitsandbytes("cuda126", more=NEEDS_DLL_FOLDER)
    result = made.patch()
    assert result.works
    assert result.environment[DLL_FOLDER] == str((made.site / "torch" / "lib").resolve())


def test_leftovers_of_the_old_patch_are_kept_in_a_backup(made):
    made.torch("12.6")
    package = made.bitsandbytes("cuda126")
    for name in ("libcudart.so", "libbitsandbytes_cuda116.dll"):
        (package / name).write_text("put there by hand")
    (package / "cuda_setup").mkdir()
    (package / "cuda_setup" / "main.py").write_text("put there by hand")
    (package / "my_notes.txt").write_text("not ours to judge")
    result = made.patch()
    assert result.works
    assert sorted(path.name for path in package.iterdir() if path.name != "__pycache__") == [
        "__init__.py", "libbitsandbytes_cuda126.dll", "my_notes.txt", "optim.py",
    ]  # fmt: skip
    (backup,) = (made.project.environment / "easy_lora_backup").iterdir()
    kept = sorted(path.relative_to(backup).as_posix() for path in backup.rglob("*.*"))
    assert kept == ["cuda_setup/main.py", "libbitsandbytes_cuda116.dll", "libcudart.so"]
    assert "Left over from an old patch" in made.notes[0]


def test_a_copy_in_the_users_own_packages_is_shut_out(made, monkeypatch, tmp_path):
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    own = tmp_path / "home" / ".local" / "lib" / version / "site-packages"
    made.bitsandbytes(folder=own, version="0.35.0")
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "home" / ".local"))
    monkeypatch.setenv("PYTHONPATH", str(own))
    made.torch("12.6")
    made.bitsandbytes("cuda126")
    assert made.patch().works and not made.notes


def test_a_copy_in_the_project_folder_is_named_and_not_touched(made):
    made.torch("12.6")
    made.bitsandbytes("cuda126")
    other = made.bitsandbytes(folder=made.project.root, version="0.41.1")
    (other / "libcudart.so").write_text("")
    result = made.patch()
    assert not result.works
    assert str(other) in result.reason and "rename that folder" in result.reason
    assert (other / "libcudart.so").exists()


@pytest.mark.parametrize(
    ("dtype", "more", "reason"),
    [
        ("'float32'", "pass", "did not work with 8 bits"),
        ("torch.uint8", "self.rate = float('nan')", "nan"),
        ("torch.uint8", "self.rate = 0", "a step gave 1.0"),
        ("torch.uint8", "os._exit(9)", "8-bit step ended early"),
    ],
)
def test_a_step_that_does_not_do_its_work_is_no_proof(made, dtype, more, reason):
    made.torch("12.6")
    made.bitsandbytes("cuda126", dtype=dtype, more=more)
    result = made.patch(platform="linux")
    assert not result.works and reason in result.reason


def test_a_step_that_hangs_is_ended_once_and_told(made, monkeypatch):
    monkeypatch.setattr(bitsandbytes_patch, "SILENCE", 2)
    made.torch("12.6")
    made.bitsandbytes("cuda126", more="__import__('time').sleep(300)")
    began = time.monotonic()
    result = made.patch()
    assert time.monotonic() - began < 60
    assert not result.works and result.environment == {} and made.installed == 0
    assert result.reason == "their first step hangs; restart the computer and run set-up again"


def test_a_reinstall_that_fails_is_not_the_end(made):
    def broken():
        raise OSError("no network")

    made.torch("12.6")
    result = made.patch(reinstall=broken)
    assert not result.works and "bitsandbytes" in result.reason


SHIPPED = [f"libbitsandbytes_cuda{each}.dll" for each in (118, 121, 124, 126, 128, 130, 132)]


@pytest.mark.parametrize(
    ("cuda", "library"),
    [
        ("11.8", "118"), ("12.6", "126"), ("12.7", "126"), ("12.9", "128"), ("12.0", "121"),
        ("13.0", "130"), ("13.1", "130"), ("13.3", "132"), ("10.2", None), ("14.0", None),
        ("11.7", "118"), (None, None),
    ],
)  # fmt: skip
def test_which_library_serves_a_cuda_version(cuda, library):
    others = [
        "libbitsandbytes_cpu.dll",
        "libbitsandbytes_rocm72.dll",
        "libbitsandbytes_xpu2026.dll",
    ]
    assert best_library([*others, *SHIPPED], cuda) == library


@pytest.mark.parametrize(
    ("version", "old"),
    [("0.35.0", True), ("0.42.0", True), ("0.43.0", False), ("0.50.2", False), ("1.0", False),
     ("0.43.0.dev0", False), (None, True)],
)  # fmt: skip
def test_versions_without_dlls(version, old):
    assert is_too_old(version) == old


@pytest.mark.slow
def test_the_real_package_takes_a_real_step_in_a_fresh_process(tmp_path):
    project = Project(tmp_path)
    project.environment.symlink_to(Path(sys.prefix), target_is_directory=True)
    for name in ("easy_scripts", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    with (tmp_path / "log.txt").open("w") as log:
        result = patch(
            Workshop(project, log, tmp_path / "log.txt", 0), pytest.fail, lambda event: None
        )
    assert result.works, (tmp_path / "log.txt").read_text()
    assert result.environment == {}


def test_the_step_is_that_of_adamw():
    """w - lr * m / sqrt(v) - lr * decay * w with w = 1 and a first step, where m / sqrt(v) = 1."""
    import torch

    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.AdamW(
        [weight], lr=eight_bit_step.RATE, weight_decay=eight_bit_step.DECAY
    )
    weight.square().sum().backward()
    optimizer.step()
    assert weight.item() == pytest.approx(eight_bit_step.AFTER_ONE_STEP, abs=1e-6)
