"""Open pull requests to a branch, and comments below them: at a forge of each kind."""

from __future__ import annotations

import pytest

from deployer.adapters.forge import Forge, ForgeUnavailable, forge
from tests.contract.forge.fakes import TOKEN, FakeForge, serving
from tests.contract.forge.server import Reply


def test_the_open_ones_to_a_branch_with_those_of_forks(fake: FakeForge, asking: Forge) -> None:
    """Each says whether it is somebody's fork; closed, merged and other ones are not among them."""
    for number in range(1, 13):
        assert fake.open(f"topic-{number}", "main", from_fork=number == 2) == number
    fake.open("topic-other", "env/staging")
    fake.merge(fake.open("topic-merged", "main"), "ada", "a" * 40)
    fake.pull(3).state = "closed"
    found = asking.open_pull_requests("main")
    assert [pull.number for pull in found] == [1, 2, *range(4, 13)]
    assert [pull.number for pull in found if pull.from_fork] == [2]
    assert {pull.base for pull in found} == {"main"}
    assert found[0].head_commit == fake.pull(1).head_commit
    assert [pull.number for pull in asking.open_pull_requests("env/staging")] == [13]
    assert asking.open_pull_requests("nowhere") == ()


def test_a_comment_is_written_found_and_changed(fake: FakeForge, asking: Forge) -> None:
    """Also behind many of others', and of another process that does not remember it."""
    number = fake.open("topic", "main")
    for index in range(70):
        fake.add_note(number, "ada", f"comment {index}")
    id_ = asking.write_comment(number, "first\n\n| a | b |\n")
    asking.change_comment(number, id_, "second")
    assert fake.pull(number).comments[-1] == "second"
    assert len(fake.pull(number).comments) == 71
    (own,) = asking.own_comments(number)
    assert (own.id, own.body) == (id_, "second")


def test_whoever_says_the_same_is_not_us(fake: FakeForge, asking: Forge) -> None:
    """A comment of somebody else is never ours, whatever is in it."""
    number = fake.open("topic", "main")
    fake.add_note(number, "mallory", "<!-- deployer plan -->")
    assert asking.own_comments(number) == ()
    id_ = asking.write_comment(number, "ours")
    assert [own.id for own in asking.own_comments(number)] == [id_]


def test_one_that_is_gone_is_a_404(fake: FakeForge, asking: Forge) -> None:
    """So that whoever remembers it writes another."""
    number = fake.open("topic", "main")
    with pytest.raises(ForgeUnavailable) as raised:
        asking.change_comment(number, 424242, "text")
    assert raised.value.status == 404


def test_a_github_app_knows_its_own_without_a_user() -> None:
    """It has none to ask for; a comment says which App wrote it, and whether for a person."""
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
        number = fake.open("topic", "main")
        fake.add_note(number, "mallory", "<!-- deployer plan -->")
        fake.add_note(number, fake.me, "of another App").app = 78
        id_ = asking.write_comment(number, "ours")
        assert [own.id for own in asking.own_comments(number)] == [id_]
        assert not [one for one in fake.requests if one.path.endswith("/user")]


def test_who_may_not_ask_who_it_is_is_told_what_to_give(fake: FakeForge, asking: Forge) -> None:
    """The sentence has the cause and the next step."""
    number = fake.open("topic", "main")
    fake.instead = lambda asked: (
        Reply(status=403, value={"message": "no"}) if asked.path.endswith("/user") else None
    )
    with pytest.raises(ForgeUnavailable, match=r"cannot ask whose token it is in .*read its own user"):
        asking.own_comments(number)
