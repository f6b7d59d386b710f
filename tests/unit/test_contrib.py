"""What `contrib/` offers satisfies the schemas of the CI systems, fits the command, and does what it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from deployer.cli.reports import FORMATS
from deployer.cli.validate import command
from tests.schemas import vendor
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "contrib" / "github-action" / "action.yml").read_text())
COMPONENT, JOBS = yaml.safe_load_all((ROOT / "contrib" / "gitlab" / "validate.yml").read_text())
[HOOK] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())

STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
[JOB] = JOBS.values()

GOOD = "applications:\n- name: fruit\n  route_prefix: /fruit\n  import_path: deployer.examples.fruit:app\n"
TYPO = GOOD.replace("route_prefix", "route_prefx")
# Folders whose names do something where a shell reads them again, splits them, or takes them for options.
ODD = ("a b; touch pwned", "$(touch pwned)", "`touch pwned`", "--help", "' \" \\ * ${HOME}")


# --- schemas -----------------------------------------------------------------------------------------


def test_the_action_satisfies_its_schema() -> None:
    """As SchemaStore publishes it; and a step that the schema does not know is refused by it."""
    assert vendor.faults("github-action", ACTION) == []
    assert vendor.faults("github-action", ACTION | {"runs": {"using": "composite"}})


def test_the_component_satisfies_gitlabs_schema() -> None:
    """Its header, and its job with the inputs' defaults in place."""
    text = (ROOT / "contrib" / "gitlab" / "validate.yml").read_text().partition("\n---\n")[2]
    for name, about in COMPONENT["spec"]["inputs"].items():
        text = text.replace(f"$[[ inputs.{name} ]]", about.get("default", "git+https://git.example.com/x@v1"))
    jobs = yaml.safe_load(text)

    assert "$[[" not in text
    assert vendor.faults("gitlab-ci", COMPONENT) == []
    assert vendor.faults("gitlab-ci", jobs) == []
    assert vendor.faults("gitlab-ci", {name: job | {"srcipt": []} for name, job in jobs.items()})


def test_the_hook_has_the_keys_that_pre_commit_documents() -> None:
    """All that it requires, none that it does not know; and the command that it starts exists."""
    optional = {"files", "description", "pass_filenames", "args", "types", "require_serial"}
    assert (
        {"id", "name", "entry", "language"} <= HOOK.keys() <= {"id", "name", "entry", "language"} | optional
    )

    program, command = HOOK["entry"].split()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert program in scripts
    assert (HOOK["language"], HOOK["pass_filenames"]) == ("python", True)
    assert command == "validate"


@pytest.mark.parametrize(
    ("file", "is_ours"),
    [
        ("environments/prod/serve_config.yaml", True),
        ("environments/prod/environment.yaml", True),
        ("ml/environments/prod/environment.yaml", True),
        ("elsewhere/serve_config.yaml", True),
        ("environment.yaml", False),
        ("environments/prod/conda/environment.yaml", False),
        ("environments/prod/my_serve_config.yaml", False),
        ("environments/prod/serve_config.yaml.orig", False),
    ],
)
def test_the_hook_takes_the_files_of_environments(file: str, *, is_ours: bool) -> None:
    """pre-commit searches a file's name for the pattern."""
    assert bool(re.search(HOOK["files"], file)) is is_ours


# --- scripts -----------------------------------------------------------------------------------------

SCRIPTS = {f"action: {name}": ("bash", step["run"]) for name, step in STEPS.items() if "run" in step} | {
    f"component: {part}": ("sh", "\n".join(JOB[part])) for part in ("before_script", "script")
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_sound_and_no_input_is_text_in_it(name: str) -> None:
    """The shell can read it, and it holds no `${{ }}` or `$[[ ]]`: inputs come as variables."""
    shell, script = SCRIPTS[name]

    done = subprocess.run(
        [shell, "-n"], input=script, text=True, capture_output=True, check=False, timeout=10
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"\$\{\{|\$\[\[", script)


def test_every_step_is_a_pinned_action_or_a_script_with_its_shell() -> None:
    """An action of somebody else is named by its commit, which nobody can move."""
    for step in STEPS.values():
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
        else:
            assert step["shell"] == "bash"


@pytest.mark.parametrize("name", ["action: Validate", "component: script"])
def test_every_option_that_is_used_exists(name: str) -> None:
    """Options and formats are those of the command."""
    script = SCRIPTS[name][1]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}

    assert set(re.findall(r"(?<![\w-])--[a-z-]+", script)) - known == set()
    assert set(re.findall(r"--format=(\w+)", script)) - set(FORMATS) == set()


def test_the_page_lists_every_input() -> None:
    """Each input of the action and of the component stands in the page's table, with its default."""
    _, action, component, _ = re.split(
        r"^## .*$", (ROOT / "contrib" / "README.md").read_text(), flags=re.MULTILINE
    )

    for text, inputs in ((action, ACTION["inputs"]), (component, COMPONENT["spec"]["inputs"])):
        rows = re.findall(r"^\| (`.+?`) \| (.*?) ?\| ", text, re.MULTILINE)
        names = [name for row, _ in rows for name in re.findall(r"`(.+?)`", row)]
        defaults = [default for _, row in rows for default in re.findall(r"`(.+?)`", row) or [""]]
        assert dict(zip(names, (default.strip('"') for default in defaults), strict=True)) == {
            name: about.get("default", "") for name, about in inputs.items()
        }


# --- what they do ------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of configs with one environment, whose author tries to have modules of theirs imported."""
    folder = tmp_path / "repository"
    for module in ("deployer/__init__.py", "yaml.py", "click.py", "sitecustomize.py"):
        path = folder / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise SystemExit('imported from the repository that is checked')\n")
    (folder / "environments" / "prod").mkdir(parents=True)
    (folder / "environments" / "prod" / "serve_config.yaml").write_text(GOOD)
    return folder


def _run(
    shell: list[str], script: str, folder: Path, variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    program = shutil.which(shell[0])
    require(shell[0], program is not None, "apt-get install bash")
    return subprocess.run(
        [str(program), *shell[1:], "-c", script],
        cwd=folder,
        env=dict(variables),
        text=True,
        capture_output=True,
        check=False,
        timeout=50,
    )


def _action(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the action's last step as the runner does, with this tree for the action's checkout."""
    step = STEPS["Validate"]
    given = {
        name: inputs.pop(name.replace("-", "_"), about["default"]) for name, about in ACTION["inputs"].items()
    }
    assert not inputs
    known = {f"${{{{ inputs.{name} }}}}": value for name, value in given.items()} | {
        "${{ steps.install.outputs.python }}": sys.executable,
        "${{ github.action_path }}/../..": f"{ROOT}/contrib/github-action/../..",
    }
    variables = {name: known[value] for name, value in step["env"].items()}
    # The runner's own call for `shell: bash`.
    shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"]
    return _run(shell, step["run"], folder, {"PATH": "/usr/bin:/bin"} | variables)


def _component(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the component's script as GitLab does where there is no bash, with `deployer` in the path."""
    given = {
        name: inputs.pop(name.replace("-", "_"), about.get("default", ""))
        for name, about in COMPONENT["spec"]["inputs"].items()
    }
    assert not inputs
    variables = {
        name: re.sub(r"\$\[\[ inputs\.(\S+) \]\]", lambda found: given[found[1]], about["value"])
        for name, about in JOB["variables"].items()
    }
    assert not any(about["expand"] for about in JOB["variables"].values())
    program = folder.parent / "bin" / "deployer"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -P -m deployer "$@"\n')
    program.chmod(0o755)
    path = {"PATH": f"{program.parent}:/usr/bin:/bin"}
    return _run(["sh", "-e"], "\n".join(JOB["script"]), folder, path | variables)


def _with_odd_folders(repository: Path) -> str:
    """One environment in each folder; the names as the input `paths` has them."""
    for name in ODD:
        (repository / name).mkdir()
        (repository / name / "serve_config.yaml").write_text(GOOD)
    return "\n".join(ODD)


def test_the_action_passes_a_valid_environment(repository: Path) -> None:
    """No error, exit code 0, and no file left. With `strict`, a warning is enough to fail."""
    before = sorted(repository.rglob("*"))

    done, strict = _action(repository), _action(repository, strict="true")

    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^\d+ warnings? in 1 of 1 environment\.$", done.stdout, re.MULTILINE)
    assert "::error" not in done.stdout
    assert (strict.returncode, strict.stdout) == (3, done.stdout)
    assert sorted(repository.rglob("*")) == before


def test_the_action_annotates_an_error_and_writes_the_report(repository: Path) -> None:
    """The annotation is at the line of the typo, the report is SARIF, and the step fails."""
    (repository / "environments" / "prod" / "serve_config.yaml").write_text(TYPO)

    done = _action(repository, sarif_file="a report.sarif")

    assert (done.returncode, done.stderr) == (3, "")
    place = "file=environments/prod/serve_config.yaml,line=3,col=3,title=unknown-key"
    assert f"::error {place}::" in done.stdout
    report = json.loads((repository / "a report.sarif").read_text())
    assert vendor.faults("sarif-2.1.0-rtm.5", report) == []
    assert "unknown-key" in {result["ruleId"] for result in report["runs"][0]["results"]}


def test_the_action_takes_an_input_for_what_it_is(repository: Path) -> None:
    """A path is one argument, whatever is in it; so is a version, and `strict` is one of two words."""
    paths = _action(repository, paths=_with_odd_folders(repository))
    version = _action(repository, ray_version='2.60"; touch pwned; "')
    strict = _action(repository, strict="yes $(touch pwned)")

    assert (paths.returncode, paths.stderr) == (0, "")
    assert f" in {len(ODD)} of {len(ODD)} environments." in paths.stdout
    assert "--ray-version: " in version.stderr
    assert version.returncode == 1
    assert "neither true nor false" in strict.stdout
    assert strict.returncode == 64
    assert not (repository / "pwned").exists()


def test_the_component_writes_both_reports(repository: Path) -> None:
    """Reports for the merge request, plain text in the log, and the exit code of the check."""
    (repository / "environments" / "prod" / "serve_config.yaml").write_text(TYPO)

    done = _component(repository)

    assert (done.returncode, done.stderr) == (3, "")
    assert "environments/prod/serve_config.yaml:3:3: error: unknown key" in done.stdout
    reports = JOB["artifacts"]["reports"]
    issues = json.loads((repository / reports["codequality"]).read_text())
    assert [fault for issue in issues for fault in vendor.faults("gitlab-codequality", issue)] == []
    assert issues[0]["location"] == {
        "path": "environments/prod/serve_config.yaml",
        "lines": {"begin": 3},
    }
    assert "<testsuites>" in (repository / reports["junit"]).read_text()


def test_the_component_takes_an_input_for_what_it_is(repository: Path) -> None:
    """A path is one argument, whatever is in it; `strict` and the version reach the command."""
    done = _component(repository, paths=_with_odd_folders(repository), strict="true", ray_version="2.60")

    assert (done.returncode, done.stderr) == (3, "")
    assert f" in {len(ODD)} of {len(ODD)} environments." in done.stdout
    assert not (repository / "pwned").exists()


def test_the_hook_checks_an_environment_once(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pre-commit passes every file of the commit; two of one environment are one check."""
    monkeypatch.chdir(repository)
    (repository / "environments" / "prod" / "environment.yaml").write_text("soak: 2m\n")
    files = [f"environments/prod/{name}" for name in ("environment.yaml", "serve_config.yaml")]

    done = CliRunner().invoke(command, ["--no-ray", "--format", "json", *files])

    document: dict[str, Any] = json.loads(done.stdout)
    assert [environment["path"] for environment in document["environments"]] == ["environments/prod"]
