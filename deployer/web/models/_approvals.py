"""What waits for people to approve it: which commit, for what it would do, and who may say so.

Owns the list. Must not know who asks, nor make a plan: that takes a look at a cluster, and each is on its own
page. Invariant: the digest of the plan is the one that the last pass found, so an approval of it is for what
would be done now, or it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.core.gates import APPROVALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from deployer.core.gates import Rules


def approvals(views: Iterable[Mapping[str, Any]], rules: Callable[[str], Rules]) -> list[dict[str, Any]]:
    """One object for each environment where something has to be approved; what waits for it comes first.

    `verdict` is closed while approvals are missing, and open where other gates are waited for; `people` are
    those whose approval counts, but for who made or promoted the commit.
    """
    found = [
        {
            "environment": view["environment"],
            "revision": view["wanted"]["revision"],
            "subject": view["wanted"]["subject"],
            "author": view["wanted"]["author"],
            "digest": view["wanted"]["digest"],
            "plan": gate["plan"],
            "verdict": gate["verdict"],
            "evidence": gate["evidence"],
            "required": rule.required,
            "people": sorted(rule.people),
            "closed": [one["name"] for one in view["gates"] if one["verdict"] == "closed"],
        }
        for view in views
        for gate in view.get("gates") or ()
        if gate["name"] == APPROVALS and gate["plan"] is not None and view["wanted"] is not None
        if (rule := rules(view["environment"]).approvals) is not None
    ]
    return sorted(found, key=lambda one: one["verdict"] != "closed")
