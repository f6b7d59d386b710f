"""`python -m tests.schemas.write VERSION ...`: fetch these versions of Ray and write their schemas as data.

Only Ray's own wheel is fetched; its models are imported with the libraries of this environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "deployer" / "adapters" / "schemas" / "data"


def write(version: str) -> Path:
    """Write the schema of one version; where it is."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        subprocess.run([*pip, f"ray=={version}"], check=True)
        made = subprocess.run(
            [sys.executable, "-m", "tests.schemas.generate"],
            env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
    if made.returncode:
        sys.exit(f"Ray {version} has no such models: {made.stderr.strip().splitlines()[-1]}")
    path = DATA / f"{version}.json"
    path.write_text(made.stdout, encoding="utf-8")
    return path


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        print(write(wanted))  # noqa: T201 - the result
