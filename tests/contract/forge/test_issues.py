"""Issues of our own: at a forge of each kind."""

from __future__ import annotations

import pytest

from deployer.adapters.forge import Forge, ForgeUnavailable, forge
from tests.contract.forge.fakes import TOKEN, FakeForge, serving

MARK = "<!-- deployer revert production -->"


def test_one_is_opened_found_changed_and_closed(fake: FakeForge, asking: Forge) -> None:
    """Also among many of others', and pull requests; a close says why, once."""
    for number in range(30):
        fake.add_ticket("ada", f"issue {number}", "text")
        fake.open(f"topic-{number}", "main")
    assert asking.open_issue(MARK) is None
    made = asking.create_issue(title="Revert it", body=f"{MARK}\n\nwhy")
    found = asking.open_issue(MARK)
    assert found == made
    assert (found.title, found.body) == ("Revert it", f"{MARK}\n\nwhy")
    assert found.url.endswith(str(found.number))

    changed = asking.update_issue(made.number, title="Revert that", body=f"{MARK}\n\nanother")
    assert (changed.number, changed.title) == (made.number, "Revert that")
    asking.close_issue(made.number, comment="It is well again.")
    asking.close_issue(made.number, comment="It is well again.")
    assert asking.open_issue(MARK) is None
    ticket = fake.ticket(made.number)
    assert ticket is not None
    assert (ticket.state, ticket.comments) == ("closed", ["It is well again."])


def test_whoever_says_the_same_is_not_us(fake: FakeForge, asking: Forge) -> None:
    """An issue of somebody else is never ours; nor is a pull request, or one of ours without the mark."""
    fake.add_ticket("mallory", "Revert it", f"{MARK}\n\nnothing")
    fake.add_ticket(fake.me, "Another", "<!-- deployer revert staging -->")
    number = fake.open("topic", "main", author=fake.me)
    fake.pull(number).body = MARK
    assert asking.open_issue(MARK) is None


def test_an_issue_that_is_not_there_is_a_404(asking: Forge) -> None:
    """As when a person deleted it."""
    with pytest.raises(ForgeUnavailable) as raised:
        asking.close_issue(424242, comment="")
    assert raised.value.status == 404


def test_a_github_app_knows_its_own() -> None:
    """It has no name to ask by: an issue says which App opened it."""
    with serving("github") as fake:
        fake.app = 77
        asking = forge(
            "github",
            api_url=fake.api_url,
            project=fake.project,
            token=lambda: TOKEN,
            ca_file=None,
            app_id="77",
        )
        made = asking.create_issue(title="t", body=MARK)
        fake.add_ticket("mallory", "t", MARK)
        assert asking.open_issue(MARK) == made
