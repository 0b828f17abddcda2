"""Optimiser classes as their libraries' source text shows them, without importing a library.

Importing torch and pytorch_optimizer takes seconds; reading which classes there are and which
arguments they take, a hundredth of one. A library that is not installed simply has no classes.
"""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

LIBRARY = "pytorch_optimizer.optimizer"
NOT_ARGUMENTS = {"self", "params", "lr"}


@cache
def library_classes() -> dict[str, str]:
    """The optimisers of pytorch_optimizer by lower-case name; empty when it is not installed."""
    for node in _parse(LIBRARY):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "OPTIMIZER_LIST":
            names = [element.id for element in node.value.elts if isinstance(element, ast.Name)]
            return {name.lower(): name for name in names}
    return {}


@cache
def argument_names(module: str, class_name: str) -> dict[str, bool] | None:
    """The arguments of an optimiser class, each with whether it must be given.

    Read from the source text; None when that is not there or does not tell.
    """
    for node in _parse(module):
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return _arguments_of(node)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == class_name:
                    above = module.split(".")[: len(module.split(".")) - node.level + 1]
                    prefix = above if node.level else []
                    target = ".".join([*prefix, node.module] if node.module else prefix)
                    return argument_names(target, alias.name)
    return None


def _arguments_of(definition: ast.ClassDef) -> dict[str, bool] | None:
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            plain, keyword = node.args.args, node.args.kwonlyargs
            first_default = len(plain) - len(node.args.defaults)
            needed = {each.arg: place < first_default for place, each in enumerate(plain)}
            for each, default in zip(keyword, node.args.kw_defaults, strict=True):
                needed[each.arg] = default is None
            return {name: must for name, must in needed.items() if name not in NOT_ARGUMENTS}
    return None


@cache
def _parse(module: str) -> list[ast.stmt]:
    """The statements of a module's source text, empty when it is not installed."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return []
    place = Path(spec.submodule_search_locations[0], *rest)
    for path in (place / "__init__.py", place.with_suffix(".py")):
        if path.is_file():
            return ast.parse(path.read_text(encoding="utf-8")).body
    return []


def exported_class(module: str, name: str) -> str | None:
    """The true spelling of a class that a module imports by name, None when there is none."""
    for node in _parse(module):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                known = alias.asname or alias.name
                if known.lower() == name.lower() and known[0].isupper():
                    return known
    return None
