"""Ray's own validator, where Ray is installed (the `local` extra).

Owns the import of Ray's models and the translation of their errors. Must not know files. Invariant: nothing
is started, sent or imported from the config, and no error repeats a value as pydantic's own text does.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from deployer.core.redact import one_line
from deployer.core.scrub import scrub
from deployer.core.serve_schema import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CODE = "ray-disagrees"

_IMPORTED = frozenset({"request_router_class", "deployment_actors", "policy_function"})
"""Options whose code Ray's models import while they validate (2.60): here it is not, and must not be."""


def installed() -> str | None:
    """The version of the Ray that can be asked; None if there is none, or one without Serve."""
    # Not at the top: it takes as long to import as a small config to check, and who says --no-ray needs none.
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    try:
        found = version("ray")
    except PackageNotFoundError:
        return None
    return found if find_spec("fastapi") and find_spec("starlette") else None


def faults(config: Mapping[str, Any]) -> Iterator[Fault]:
    """What Ray's `ServeDeploySchema` refuses in a whole config. Takes 1 to 2 s the first time, to import it.

    Raises RuntimeError if Ray cannot be imported.
    """
    import pydantic

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from ray.serve.schema import ServeDeploySchema
    except ImportError as error:
        message = f"Ray is installed, but its Serve cannot be imported: {error}"
        raise RuntimeError(message) from error
    try:
        with warnings.catch_warnings():
            # About options that are to go; said by nobody on a cluster.
            warnings.simplefilter("ignore")
            ServeDeploySchema.model_validate(_without_code(config))
    except pydantic.ValidationError as error:
        for each in error.errors(include_input=False, include_url=False, include_context=False):
            yield Fault(
                path=_path(each["loc"], config),
                message=f"Ray's own validator says: {one_line(scrub(each['msg'], frozenset()))}",
                code=CODE,
            )
    except Exception as error:  # noqa: BLE001 - on some input Ray's validators fail themselves: Serve answers 500
        what = f"Ray's own validator fails on this config ({type(error).__name__})"
        yield Fault(path=(), message=what, then="Serve would answer with a traceback", code=CODE)


def _without_code(value: Any) -> Any:  # noqa: ANN401 - a tree
    """The config without what is imported. `args` and the like can have no such keys that would matter."""
    match value:
        case dict():
            return {key: _without_code(inner) for key, inner in value.items() if key not in _IMPORTED}
        case list():
            return [_without_code(item) for item in value]
        case _:
            return value


def _path(loc: tuple[int | str, ...], config: Any) -> tuple[int | str, ...]:  # noqa: ANN401 - a tree
    """As much of pydantic's location as is there: it also names the alternative of a union that it tried."""
    path: list[int | str] = []
    for key in loc:
        try:
            config = config[key]
        except (KeyError, IndexError, TypeError):
            break
        path.append(key)
    return tuple(path)
