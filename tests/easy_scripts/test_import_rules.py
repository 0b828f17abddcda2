"""Imports go one way: easy_scripts -> scripts.core, scripts.settings; and the light parts stay
light. The arrows are read from the source, so an import inside a function counts too.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "peft", "bitsandbytes"}
FALLBACKS = {"tomllib", "tomli"}  # Python 3.10 has no tomllib of its own
LIGHT = "scripts.lora.block_ratios"  # a parser that a window uses too
GUI_PACKAGES = {"sv_ttk", "tktooltip", "tkinterdnd2", "PIL"}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, with the line; relative ones spelled out."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def offenders(folder: str, forbidden) -> list[str]:
    found = []
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder} holds no Python files: the test looks in the wrong place"
    for path in files:
        for module, line in imports(path):
            if forbidden(module):
                found.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    return found


def top(module: str) -> str:
    return module.split(".")[0]


def in_packages(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def test_easy_scripts_imports_only_core_and_settings_of_scripts():
    def forbidden(module):
        return top(module) == "scripts" and not in_packages(
            module, "scripts.core", "scripts.settings", LIGHT
        )

    assert offenders("easy_scripts", forbidden) == []


def test_the_parser_that_a_window_uses_needs_the_standard_library_alone():
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {LIGHT}"
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, timeout=60)


def test_scripts_never_imports_easy_scripts():
    assert offenders("scripts", lambda module: top(module) == "easy_scripts") == []


@pytest.mark.parametrize("folder", ["easy_scripts", "scripts/core", "scripts/settings"])
def test_no_heavy_library_in_the_light_parts(folder):
    assert offenders(folder, lambda module: top(module) in HEAVY) == []


@pytest.mark.parametrize("folder", ["scripts/core", "scripts/settings"])
def test_core_and_settings_use_the_standard_library_alone(folder):
    allowed = set(sys.stdlib_module_names) | FALLBACKS
    own = ("scripts.core", "scripts.settings")
    assert (
        offenders(folder, lambda name: top(name) not in allowed and not in_packages(name, *own))
        == []
    )


def test_easy_scripts_uses_the_standard_library_and_the_gui_packages():
    allowed = set(sys.stdlib_module_names) | GUI_PACKAGES | {"easy_scripts", "scripts"}
    assert offenders("easy_scripts", lambda module: top(module) not in allowed) == []


@pytest.mark.parametrize("folder", ["easy_scripts", "scripts"])
def test_package_init_files_hold_nothing_but_a_docstring(folder):
    paths = sorted((ROOT / folder).rglob("__init__.py"))
    assert paths
    for path in paths:
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            assert isinstance(statement, ast.Expr), path
            assert isinstance(statement.value, ast.Constant), path


def test_the_walk_sees_relative_and_nested_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "scripts" / "core" / "bad.py"
    file.parent.mkdir(parents=True)
    file.write_text("def f():\n    import torch.nn\n    from ..models import load\n")
    assert list(imports(file)) == [("torch.nn", 2), ("scripts.models.load", 3)]


def test_every_file_with_easy_scripts_doors_reads_on_old_pythons():
    """__main__ and python_version must parse on Python 2.7 and 3.6 to be able to refuse them."""
    new_syntax = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Match, ast.AsyncFunctionDef)
    for name in ("__main__.py", "launcher/python_version.py", "__init__.py"):
        text = (ROOT / "easy_scripts" / name).read_text(encoding="utf-8")
        assert text.isascii(), name
        for node in ast.walk(ast.parse(text)):
            assert not isinstance(node, new_syntax), (name, node.lineno)
            if isinstance(node, ast.FunctionDef):
                annotated = [argument.annotation for argument in node.args.args]
                assert not node.returns and not any(annotated), (name, node.lineno)
            if isinstance(node, ast.ImportFrom):
                assert node.module != "__future__", name
