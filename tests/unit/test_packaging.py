"""What is promised about the project as a whole: pure core, locks for plain pip anywhere, complete wheel."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.prerequisites import require

ROOT = Path(__file__).parents[2]
CORE = ROOT / "deployer" / "core"
LOCKS = ("run", "local", "dev")

# Distributions by the module they give, where the names differ, or where one gives what another is made of.
DISTRIBUTIONS = {
    "git": "gitpython",
    "yaml": "pyyaml",
    "urllib3": "requests",
    "pydantic_core": "pydantic",
    "starlette": "fastapi",
    "markupsafe": "jinja2",
    "prometheus_client": "prometheus-client",
}

# Third parties that the core may import, and where. It is given values and gives values: no I/O, so none of
# the libraries that do any.
ALLOWED_IN_CORE = {
    "pydantic": None,
    "yaml": {CORE / "yaml.py", CORE / "yaml_tree.py"},
    "cronsim": {CORE / "windows.py"},
}


def _imports(source: Path) -> set[str]:
    """Everything a file imports, wherever in it, also for typing only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(), source.name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative imports hide what the layers see"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("source", sorted(CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_imports_nothing_that_does_anything(source: Path) -> None:
    """A core module imports the core, the standard library, pydantic; two modules PyYAML, one cronsim."""
    for name in _imports(source):
        package = name.partition(".")[0]
        if package == "deployer":
            assert (name + ".").startswith("deployer.core."), name
        elif package not in sys.stdlib_module_names:
            assert package in ALLOWED_IN_CORE, f"{source.name} imports {name}"
            assert source in (ALLOWED_IN_CORE[package] or {source}), f"{source.name} imports {name}"


def test_the_core_has_no_clock_no_threads_and_no_chance() -> None:
    """Time and randomness are arguments, and there is no I/O: the modules for those are not imported."""
    impure = {
        "threading",
        "time",
        "random",
        "secrets",
        "uuid",
        "socket",
        "subprocess",
        "os",
        "asyncio",
    }

    found = {source.name: _imports(source) & impure for source in CORE.rglob("*.py")}

    assert {name: names for name, names in found.items() if names} == {}


def test_what_is_declared_is_what_is_imported() -> None:
    """No dependency is missing from `pyproject.toml`, and none is there that nothing imports."""
    package = ROOT / "deployer"
    sources = [source for source in package.rglob("*.py") if package / "examples" not in source.parents]
    names = {name.partition(".")[0] for source in sources for name in _imports(source)}
    declared = {canonicalize_name(Requirement(text).name) for text in _project()["project"]["dependencies"]}

    imported = {DISTRIBUTIONS.get(name, name) for name in names - sys.stdlib_module_names - {"deployer"}}

    # Of the extras: `validate` asks Ray's validator where it is installed; traces and messages to people are
    # sent where they can be.
    assert imported - declared == {"ray", "opentelemetry", "apprise"}
    assert imported >= declared


def test_every_decision_is_in_the_index() -> None:
    """`docs/adr/README.md` lists each decision once, by its number and its title."""
    folder = ROOT / "docs" / "adr"
    decisions = {path.name: path.read_text().splitlines()[0] for path in folder.glob("[0-9]*.md")}

    rows = re.findall(r"^\| \[(\d+)\]\((.+?)\) \| (.+) \|$", (folder / "README.md").read_text(), re.MULTILINE)

    assert sorted((name, f"# {number}: {title}") for number, name, title in rows) == sorted(decisions.items())


# --- locks -------------------------------------------------------------------------------------------


def _lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def _pins(name: str) -> dict[str, list[Requirement]]:
    """The pinned requirements of a lock by canonical name; two where Python versions need different ones."""
    pins: dict[str, list[Requirement]] = {}
    for entry in re.findall(r"^([A-Za-z0-9][^\\\n]*?) ?\\?$", _lock(name), re.MULTILINE):
        pin = Requirement(entry)
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_is_exact_and_hashed(name: str) -> None:
    """Each entry is `name==version` with at least one sha256, so that pip can demand the hashes."""
    entries = re.split(r"^(?=[A-Za-z0-9])", _lock(name), flags=re.MULTILINE)[1:]

    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+(\[[a-z,]+\])?==[0-9][^ ]*( ; [^\\]+)? \\\n    --hash=sha256:", entry), (
            entry
        )


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_says_nothing_about_the_machine_that_wrote_it(name: str) -> None:
    """No index, no URL, no path: the lock is good wherever pip finds the files."""
    text = _lock(name)

    assert not re.findall(r"^\s*-(?!-hash=).*", text, re.MULTILINE)
    assert not re.findall(r"\w+://\S*|(?<![\w.])/(?:\w|-)\S*|--\w*(?:index|links|host)\S*", text)


def test_the_locks_agree() -> None:
    """What runs is what is tested: each smaller lock is contained in the larger ones, version by version."""
    run, local, dev = ({name: set(map(str, pins)) for name, pins in _pins(lock).items()} for lock in LOCKS)

    assert run.items() <= local.items() <= dev.items()


def test_the_locks_follow_pyproject() -> None:
    """Every dependency that is declared is pinned where it is needed, at a version that it allows."""
    project = _project()
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    declared = {"run": project["project"]["dependencies"]}
    declared["local"] = declared["run"] + extras["local"] + groups["build"]
    declared["dev"] = declared["local"] + extras["postgres"] + extras["notify"] + groups["test"]

    for lock, requirements in declared.items():
        pins = _pins(lock)
        for requirement in map(Requirement, requirements):
            versions = [
                Version(next(iter(pin.specifier)).version)
                for pin in pins[canonicalize_name(requirement.name)]
            ]
            assert all(version in requirement.specifier for version in versions), f"{lock}: {requirement}"


def test_dependencies_have_floors_and_no_caps() -> None:
    """A cap would make the package impossible to install beside a newer Ray; the locks decide instead."""
    requirements = _project()["project"]["dependencies"]

    operators = {clause.operator for text in requirements for clause in Requirement(text).specifier}

    assert operators == {">="}


# --- wheel -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The wheel, built from this tree without the network."""
    require("hatchling", importlib.util.find_spec("hatchling") is not None, "make test")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=50,
    )
    [built] = folder.glob("*.whl")
    return zipfile.Path(built)


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.Path) -> None:
    """Code, `py.typed`, migrations, the demo's environments: all that is in the tree, and no more."""
    names = {name for name in wheel.root.namelist() if not name.endswith("/")}
    packaged = {name for name in names if not name.partition("/")[0].endswith(".dist-info")}
    here = {
        *(str(path.relative_to(ROOT)) for path in _files(ROOT / "deployer")),
        *(f"deployer/{path.relative_to(ROOT)}" for path in _files(ROOT / "environments")),
    }

    assert packaged == here
    assert "deployer/py.typed" in packaged


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_the_wheel_has_the_command_and_the_licence(wheel: zipfile.Path) -> None:
    """Installing it gives `deployer`, under the name and licence that the project has."""
    [info] = [entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info")]

    metadata = (info / "METADATA").read_text()
    assert "Name: ray-serve-deployer\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    assert (info / "entry_points.txt").read_text() == "[console_scripts]\ndeployer = deployer.cli.main:main\n"
    assert "Apache License" in (info / "licenses" / "LICENSE").read_text()
