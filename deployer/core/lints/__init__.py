"""What is no error in a Serve config, and will hurt all the same.

Nothing here keeps a config from being deployed. Each lint has a code, stands in `docs/lints.md`, and can be
silenced beside the line.
"""

from deployer.core.lints._lint import lint
from deployer.core.lints._rules import RULES, Rule
from deployer.core.lints._subject import Subject

__all__ = ["RULES", "Rule", "Subject", "lint"]
