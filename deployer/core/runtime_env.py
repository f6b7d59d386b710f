"""What in a `runtime_env` passes Serve's schema and then breaks Serve.

Owns the rules that Ray checks inside Serve's controller, after that has stored the config, and so too late.
Must not know where in a config the `runtime_env` stands. Invariant: nothing is found in what could work
(measured case by case on Ray 2.60); what Serve's schema refuses, and what only a node of the cluster can know
(a file, a conda environment), is left to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deployer.core.document import kind
from deployer.core.redact import Path, quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Faults = Iterator[tuple[Path, str]]

_MANAGERS = ("pip", "uv", "conda")
_IMAGES = ("container", "image_uri")
_BESIDE_AN_IMAGE = frozenset({"config", "env_vars"})

_ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar.xz")
"""Those that Ray 2.60 unpacks; older versions take no other."""
_MODULES = (*_ARCHIVES, ".whl")


def faults(runtime_env: Mapping[str, Any]) -> Faults:
    """Each fault: where it is below the `runtime_env`, and a sentence without its full stop."""
    yield from _env_vars(runtime_env.get("env_vars"))
    for key, options in (("pip", "pip_install_options"), ("uv", "uv_pip_install_options")):
        match runtime_env.get(key):
            case None | str():  # a file on the head
                pass
            case dict() as mapping:
                yield from _packages(key, mapping, options)
            case packages:
                yield from _texts((key,), packages, "requirements")
    conda = runtime_env.get("conda")
    if not isinstance(conda, dict | str | None):
        yield ("conda",), f"`conda` is a name or a mapping, not {kind(conda)}"
    yield from _together(runtime_env)
    if runtime_env.get("excludes") is not None:
        yield from _texts(("excludes",), runtime_env["excludes"], "patterns")
    yield from _archive(("working_dir",), runtime_env.get("working_dir"), _ARCHIVES)
    modules = runtime_env.get("py_modules")
    for index, module in enumerate(modules if isinstance(modules, list) else ()):
        yield from _archive(("py_modules", index), module, _MODULES)
    yield from _config(runtime_env.get("config"))


def _env_vars(env_vars: object) -> Faults:
    if env_vars is not None and not isinstance(env_vars, dict):
        yield ("env_vars",), f"`env_vars` is a mapping of names to text, not {kind(env_vars)}"
    elif env_vars:
        for name, value in env_vars.items():
            if not isinstance(value, str):
                what = f"environment variable {quote(name)} must be text, not {kind(value)}"
                yield ("env_vars", name), f"{what}: quote it"


def _packages(key: str, mapping: Mapping[str, Any], options: str) -> Faults:
    """The long form of `pip` or `uv`."""
    check, version = f"{key}_check", f"{key}_version"
    known = ("packages", check, version, options)
    for other in mapping:
        if other not in known:
            yield (key, other), f"`{key}` has no key {quote(other)}: it takes {', '.join(known)}"
    if "packages" not in mapping:
        yield (key,), f"`{key}` has no `packages`: add the list"
    elif not (key == "pip" and isinstance(mapping["packages"], str)):
        yield from _texts((key, "packages"), mapping["packages"], "requirements")
    if not isinstance(mapping.get(check, False), bool):
        yield (key, check), f"`{check}` is true or false, not {kind(mapping[check])}"
    if not isinstance(mapping.get(version, ""), str):
        yield (key, version), f"`{version}` is text, not {kind(mapping[version])}: quote it"
    if options in mapping:
        yield from _texts((key, options), mapping[options], "options")


def _together(runtime_env: Mapping[str, Any]) -> Faults:
    """What cannot stand together."""
    given = [key for key, value in runtime_env.items() if value is not None]
    managers = [manager for manager in _MANAGERS if manager in given]
    if len(managers) > 1:
        names = " and ".join(f"`{manager}`" for manager in managers)
        yield (managers[1],), f"{names} cannot stand together: keep one"
    for image in _IMAGES:
        beside = [key for key in given if key != image and key not in _BESIDE_AN_IMAGE]
        if runtime_env.get(image) and beside:
            why = f"{quote(beside[0])} cannot stand beside `{image}`: put it into the image"
            yield (beside[0],), why


def _texts(path: Path, value: object, what: str) -> Faults:
    if not isinstance(value, list):
        yield path, f"`{path[-1]}` is a list of {what}, not {kind(value)}"
        return
    for index, item in enumerate(value):
        if not isinstance(item, str):
            yield (*path, index), f"`{path[-1]}` is a list of text, and this is {kind(item)}: quote it"


def _archive(path: Path, uri: object, extensions: tuple[str, ...]) -> Faults:
    """A URI without a scheme or with a wrong one is refused by Serve's schema."""
    try:
        parts = urlsplit(uri) if isinstance(uri, str) else None
    except ValueError:
        return
    if parts is None or parts.scheme in {"", "local"}:
        return
    if not f"{parts.netloc}{parts.path}".endswith(extensions):
        why = f"`{path[0]}` names an archive, and this URI does not end with {', '.join(extensions)}"
        yield path, why


def _config(config: object) -> Faults:
    if config is not None and not isinstance(config, dict):
        yield ("config",), f"`config` of a runtime_env is a mapping, not {kind(config)}"
    elif config:
        # Ray makes a protocol buffer of it, to which true is no number.
        seconds = config.get("setup_timeout_seconds", 1)
        if not isinstance(seconds, int) or isinstance(seconds, bool) or not (seconds > 0 or seconds == -1):
            why = "`setup_timeout_seconds` is a whole number above 0, or -1 for no limit"
            yield ("config", "setup_timeout_seconds"), why
        if not isinstance(config.get("eager_install", True), bool):
            why = f"`eager_install` is true or false, not {kind(config['eager_install'])}"
            yield ("config", "eager_install"), why
        if config.get("log_files") is not None:
            yield from _texts(("config", "log_files"), config["log_files"], "files")
