"""Signatures that reading the source does not show: those that attrs makes, and the one that `Emitter` borrows.

griffe, which reads the code for the reference, loads this extension; the signatures come from the imported package.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import attrs
from griffe import Attribute, Class, Extension, Function, Parameter, ParameterKind, Parameters

KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: ParameterKind.positional_only,
    inspect.Parameter.POSITIONAL_OR_KEYWORD: ParameterKind.positional_or_keyword,
    inspect.Parameter.VAR_POSITIONAL: ParameterKind.var_positional,
    inspect.Parameter.KEYWORD_ONLY: ParameterKind.keyword_only,
    inspect.Parameter.VAR_KEYWORD: ParameterKind.var_keyword,
}
SHARED = re.compile(r"^ {4}(\w+(?:, \w+)+): (.*(?:\n {8,}.*)*)", re.MULTILINE)
"""Arguments that share a description, ``min_x, max_x: How far …``."""


class MadeSignatures(Extension):
    """Gives classes the ``__init__`` that they have once they are imported, arguments that share a description one
    each, and defaults that are named constants their value."""

    def on_package(self, *, pkg: Any, **_: Any) -> None:
        settings = pkg["settings.EmitterSettings"]
        for module in [pkg, *pkg.modules.values()]:
            classes = [member for member in module.members.values() if isinstance(member, Class)]
            public = [member for member in classes if not member.name.startswith("_")]
            if public and (imported := _imported(module.path)):
                for member in public:
                    _complete(member, imported, settings)


def _imported(path: str) -> Any:
    """The module, or None where it needs an extra that is not here: then the page shows what the source has."""
    try:
        return importlib.import_module(path)
    except ImportError:
        return None


def _complete(documented: Class, module: Any, settings: Class) -> None:
    real = getattr(module, documented.name)
    if documented.docstring:
        documented.docstring.value = SHARED.sub(_one_each, documented.docstring.value)
    for method in documented.members.values():
        for parameter in method.parameters if isinstance(method, Function) else ():
            if re.fullmatch("[A-Z][A-Z_]+", str(parameter.default)):
                parameter.default = repr(getattr(module, str(parameter.default)))
    if "__attrs_attrs__" in vars(real):
        _set_init(documented, inspect.signature(real), _annotations(documented))
    elif hasattr(vars(real).get("__init__"), "__signature__"):  # the emitter's: it takes its settings
        _set_init(
            documented,
            inspect.signature(importlib.import_module(settings.module.path).EmitterSettings),
            _annotations(settings),
        )


def _set_init(documented: Class, signature: inspect.Signature, annotations: dict[str, Any]) -> None:
    own = Parameter("self", kind=ParameterKind.positional_or_keyword)
    parameters = [_parameter(parameter, annotations) for parameter in signature.parameters.values()]
    documented.set_member("__init__", Function("__init__", parameters=Parameters(own, *parameters), parent=documented))


def _one_each(match: re.Match[str]) -> str:
    return "\n".join(f"    {name}: {match[2]}" for name in match[1].split(", "))


def _annotations(documented: Class) -> dict[str, Any]:
    """Field name to its annotation as the source has it, from the class and from those it inherits from."""
    found: dict[str, Any] = {}
    for owner in [*reversed(documented.mro()), documented]:
        members = owner.members.items()
        found.update((name, member.annotation) for name, member in members if isinstance(member, Attribute))
    return found


def _parameter(parameter: inspect.Parameter, annotations: dict[str, Any]) -> Parameter:
    plain = None if parameter.annotation is parameter.empty else str(parameter.annotation)
    default = None if parameter.default is parameter.empty else _shown(parameter.default)
    return Parameter(
        parameter.name, annotation=annotations.get(parameter.name, plain), kind=KINDS[parameter.kind], default=default
    )


def _shown(default: Any) -> str:
    return "..." if default is attrs.NOTHING else repr(default)
