"""`deployer plan` without asking a cluster: how long a pipeline waits for it, in a whole process.

Once with a store that has a good release (`--against release`), which takes the store's libraries too, and
once without one, between two folders. Beside them, in turns, `serve --help`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.validate import config, in_turns, ratio
from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from deployer.core import serve_config
from deployer.core.record import Record, evolve
from deployer.core.types import Release
from tests.support.build import revision
from tests.support.repos import BareRepo
from tests.unit.core.test_commands import good

_BIN = Path(sys.executable).parent
_APPLICATIONS = 5
_FOLDER = "environments/staging"


def run(rounds: int) -> dict[str, Any]:
    """Measure both, beside their peer, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        old = config(_APPLICATIONS)
        new = old.replace("num_replicas: 2", "num_replicas: 3")
        repo = BareRepo(root / "configs.git")
        repo.commit({f"{_FOLDER}/serve_config.yaml": new})
        settings = {name: _settings(root, name) for name in ("stored", "fresh")}
        _remember(root / "stored", old)
        folders = [_written(root / name, text) for name, text in (("old", old), ("new", new))]
        plan = [str(_BIN / "deployer"), "plan", "staging", "-c"]
        found = in_turns(
            {
                "deployer": [*plan, str(settings["stored"]), "--against", "release"],
                "deployer_again": [*plan, str(settings["stored"]), "--against", "release"],
                "no_store": [*plan, str(settings["fresh"]), "--from", folders[1], "--against", folders[0]],
                "serve_help": [str(_BIN / "serve"), "--help"],
            },
            rounds,
        )
    return {
        **found,
        "ratio_to_serve_help": ratio(found, "serve_help"),
        "ratio_a_a": ratio(found, "deployer_again"),
    }


def _settings(root: Path, name: str) -> Path:
    (root / name).mkdir(mode=0o700)
    file = root / f"{name}.yaml"
    file.write_text(
        f"state_dir: {root / name}\n"
        f"repositories:\n  configs: {{url: {root / 'configs.git'}}}\n"
        "environments:\n  staging:\n    repository: configs\n    branch: main\n"
        f"    path: {_FOLDER}\n    cluster: {{address: 'http://127.0.0.1:9'}}\n",
        encoding="utf-8",
    )
    return file


def _remember(state: Path, text: str) -> None:
    """A history in which this became good."""
    release = Release(revision=revision("a"), config=serve_config.parse(text.encode(), "f")[0])
    store = SqlStore.open(state / STORE_FILE)
    record = Record(environment="staging")
    for event in good(1, release):
        store.commit(record, [event])
        record = evolve(record, event)
    store.close()


def _written(folder: Path, text: str) -> str:
    folder.mkdir()
    (folder / "serve_config.yaml").write_text(text, encoding="utf-8")
    return str(folder)
