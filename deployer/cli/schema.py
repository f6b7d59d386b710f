"""`deployer schema`: the JSON Schemas of the files that people write, for editors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import context
from deployer.cli.main import Failure, common_options, option

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = {
    "serve": "serve_config.yaml, for one version of Ray",
    "environment": "environment.yaml",
    "settings": "deployer.yaml",
}

NAME_PATTERN = "[a-z0-9][a-z0-9-]*"
"""What a repository or an environment may be called."""

_BY_NAME = ("repositories", "environments")
_NOT_NEEDED = ("title", "examples", "format")
"""What pydantic adds and no editor needs: names that are the keys again, examples as text, a format of its
own."""


@click.command()
@click.argument("name", required=False, type=click.Choice([*NAMES]), metavar="[serve|environment|settings]")
@click.option(
    "--ray-version",
    metavar="VERSION",
    help="serve: the schema of this Ray. Default: the newest that is known.",
)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    name: str | None,
    ray_version: str | None,
    config: str | None,  # noqa: ARG001 - not needed: nothing here asks a daemon
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Print the JSON Schema (draft 2020-12) of a file. Without an argument: which files have one."""
    form = option(ctx, "output") or "table"
    if name is None:
        if form != "table":
            context.emit(NAMES, form)
        else:
            click.echo(_overview())
        return
    if ray_version is not None and name != "serve":
        message = f"--ray-version is for `deployer schema serve`: {NAMES[name]} is the same for every Ray."
        raise click.UsageError(message)
    schema = _schema(name, ray_version)
    click.echo(context.as_yaml(schema) if form == "yaml" else as_text(schema), nl=False)


def as_text(schema: Mapping[str, Any]) -> str:
    """The schema as it is printed and written to files."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema(name: str, ray_version: str | None) -> dict[str, Any]:
    from deployer.adapters import schemas
    from deployer.core import editor_schema

    if name == "environment":
        return editor_schema.environment()
    if name == "settings":
        return settings()
    try:
        schema = schemas.schema(ray_version)
    except ValueError as error:
        message = f"--ray-version: {error}."
        raise Failure(message) from error
    if not schema.complete:
        told = f"Ray {ray_version} is newer than {schema.ray_version}, the newest that is known here: unknown"
        click.echo(f"{told} keys pass.", err=True)
    return editor_schema.serve(schema)


def settings() -> dict[str, Any]:
    """The schema of `deployer.yaml`, from the models that read it."""
    from deployer.core.editor_schema import DIALECT, duration
    from deployer.settings import Settings

    found: dict[str, Any] = _as_written(Settings.model_json_schema())
    # What pydantic cannot know: what is read from text, and what has its default only when it is loaded.
    found["required"].remove("state_dir")
    found["properties"]["state_dir"]["description"] = "Where the daemon keeps its store and mirrors."
    for group in _BY_NAME:
        found["properties"][group] |= {
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
        }
    found["properties"]["workers"] |= {"minimum": 1, "maximum": 1000}
    found["$defs"]["Environment"]["oneOf"] = [{"required": [key]} for key in ("branch", "tags", "commit")]
    promote_from = found["$defs"]["Environment"]["properties"]["promote_from"]
    promote_from["anyOf"] = [{"type": "string"}, {"$ref": promote_from.pop("$ref")}]
    people = found["properties"]["people"]
    emails = found["$defs"]["Person"]["properties"]["emails"]
    people["additionalProperties"] = {
        "anyOf": [{key: emails[key] for key in ("type", "items")}, people["additionalProperties"]]
    }
    found["$defs"]["Person"] |= {"minProperties": 1}
    found["$defs"]["Forge"]["oneOf"] = [{"required": [key]} for key in ("token_file", "github_app")]
    found["$defs"]["Audit"]["properties"]["syslog"]["type"] = ["boolean", "string"]
    for group, key, default in (("Repository", "poll_interval", "15s"), ("Audit", "every", "10m")):
        every = found["$defs"][group]["properties"][key]
        del every["type"]
        every |= {**duration(), "default": default}
    return {"$schema": DIALECT, "title": "deployer.yaml: the settings of the daemon", **found}


def _as_written(node: Any, *, names: bool = False) -> Any:  # noqa: ANN401 - a tree
    """Without what the file cannot say: null, which is refused where a setting may be left out.

    `names`: the keys are those of the file, and all stay.
    """
    if isinstance(node, list):
        return [_as_written(one) for one in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {key: _as_written(value) for key, value in node.items()}
    kept: Mapping[str, Any] = {
        key: _as_written(value, names=key in {"properties", "$defs"})
        for key, value in node.items()
        if key not in _NOT_NEEDED and not (key == "default" and (value is None or isinstance(value, dict)))
    }
    if "description" in kept:
        # What follows the first line is for those who read the code.
        kept = {**kept, "description": kept["description"].partition("\n")[0]}
    choices = [choice for choice in kept.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        rest = {key: value for key, value in kept.items() if key != "anyOf"}
        return {**rest, **choices[0]}
    return kept


def _overview() -> str:
    from deployer.adapters.schemas import KNOWN

    lines = [f"  deployer schema {name:<12} {what}" for name, what in NAMES.items()]
    return "\n".join(
        (
            *lines,
            "",
            f"`serve` takes --ray-version: {KNOWN[0]} to {KNOWN[-1]} are known.",
            "",
            "An editor with the YAML language server (VS Code's YAML extension, Neovim and others) shows",
            "errors and completes keys while you type, once a line of the file names its schema:",
            "",
            "  # yaml-language-server: $schema=../../.deployer/environment.schema.json",
            "",
            "The path is relative to that file. `deployer init` writes the schemas and these lines; after an",
            "update of Ray or of deployer, write the schemas again:",
            "",
            "  deployer schema environment > .deployer/environment.schema.json",
            "",
            "What an editor cannot see, such as options that may not stand together, is told by",
            "`deployer validate`.",
        )
    )
