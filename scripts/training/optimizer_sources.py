"""Optimiser classes as their libraries' source text shows them, without importing a library.

Importing torch and pytorch_optimizer takes seconds; reading which classes there are and which
arguments they take, a hundredth of one. A library that is not installed simply has no classes.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

LIBRARY = "pytorch_optimizer.optimizer"
NOT_ARGUMENTS = {"self", "params", "lr"}


@dataclass(frozen=True)
class Argument:
    """An argument of a class: whether it must be given; its default, None when not a literal."""

    needed: bool
    default: Any = None


@cache
def library_classes() -> dict[str, str]:
    """The optimisers of pytorch_optimizer by lower-case name; empty when it is not installed."""
    for node in _parse(LIBRARY):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "OPTIMIZER_LIST":
            names = [element.id for element in node.value.elts if isinstance(element, ast.Name)]
            return {name.lower(): name for name in names}
    return {}


@cache
def arguments_of(module: str, class_name: str) -> dict[str, Argument] | None:
    """The arguments of an optimiser class by name.

    Read from the source text; None when that is not there or does not tell.
    """
    definition = _find_class(module, class_name)
    method = _find_method(definition, "__init__") if definition else None
    if method is None:
        return None
    return {name: argument for name, argument in _read_arguments(method)
            if name not in NOT_ARGUMENTS}  # fmt: skip


def needs_closure(module: str, class_name: str) -> bool:
    """Whether a step of the class insists on a function that works out the loss anew."""
    definition = _find_class(module, class_name)
    method = _find_method(definition, "step") if definition else None
    return method is not None and any(argument.needed and name != "self"
                                      for name, argument in _read_arguments(method))  # fmt: skip


def _find_class(module: str, class_name: str) -> ast.ClassDef | None:
    for node in _parse(module):
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return node
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == class_name:
                    above = module.split(".")[: len(module.split(".")) - node.level + 1]
                    prefix = above if node.level else []
                    target = ".".join([*prefix, node.module] if node.module else prefix)
                    return _find_class(target, alias.name)
    return None


def _find_method(definition: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    methods = (node for node in definition.body if isinstance(node, ast.FunctionDef))
    return next((method for method in methods if method.name == name), None)


def _read_arguments(method: ast.FunctionDef) -> Iterable[tuple[str, Argument]]:
    plain, keyword = method.args.args, method.args.kwonlyargs
    without_default = len(plain) - len(method.args.defaults)
    defaults = [*[None] * without_default, *method.args.defaults, *method.args.kw_defaults]
    for each, default in zip([*plain, *keyword], defaults, strict=True):
        yield each.arg, Argument(default is None, _literal(default) if default else None)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
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
