"""`python -m tests.support.openapi` writes docs/openapi.json anew: the API as it describes itself."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.faces import uncalled

PAGE = Path(__file__).parents[2] / "docs/openapi.json"


def described() -> str:
    """What the file holds. The version is that of the program, and no part of the contract."""
    document = uncalled().openapi()
    del document["info"]["version"]
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(described())
