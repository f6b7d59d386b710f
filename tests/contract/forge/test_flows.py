"""What the daemon does at a forge, the same at each: pull requests, reviews, checks, statuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.forge import ForgeUnavailable, Opinion, State
from tests.contract.forge.fake_gitea import FakeGitea
from tests.contract.forge.fake_gitlab import FakeGitLab
from tests.contract.forge.server import Reply

if TYPE_CHECKING:
    from deployer.adapters.forge import Forge, Kind
    from tests.contract.forge.server import Asked, FakeForge

COMMIT = "c0ffee" + "0" * 34
OTHER = "beef" + "1" * 36
BRANCH = "deployer/promote-production"
BASE = "env/production"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


# --- pull requests -------------------------------------------------------------------------------------


def test_a_pull_request_is_opened_and_found_again(asking: Forge, fake: FakeForge) -> None:
    """Between these two branches, with all that it says about itself."""
    assert asking.open_pull_request(BRANCH, BASE) is None

    made = asking.create(head=BRANCH, base=BASE, title="Promote 37", body="One line.\n\nAnother.")

    assert made == asking.open_pull_request(BRANCH, BASE)
    assert (made.number, made.title, made.body) == (1, "Promote 37", "One line.\n\nAnother.")
    assert (made.head, made.base, made.head_commit) == (BRANCH, BASE, fake.head_of(BRANCH))
    assert (made.state, made.author, made.merged_by, made.merge_commit) == ("open", fake.me, None, None)
    assert made.url.startswith("https://forge.example/ml/serve-configs/")


def test_it_is_updated_in_place(asking: Forge) -> None:
    """Title and body change, the number stays."""
    made = asking.create(head=BRANCH, base=BASE, title="Promote 37", body="One.")

    changed = asking.update(made.number, title="Promote 38", body="Two.")

    assert (changed.number, changed.title, changed.body) == (made.number, "Promote 38", "Two.")
    assert changed == asking.open_pull_request(BRANCH, BASE)


def test_there_is_one_between_two_branches_however_often_it_is_opened(asking: Forge, fake: FakeForge) -> None:
    """The forge refuses the second, and the first one gets what that would have said."""
    first = asking.create(head=BRANCH, base=BASE, title="Promote 37", body="One.")
    elsewhere = asking.create(head=BRANCH, base="env/staging", title="Another way", body="")
    again = asking.create(head=BRANCH, base=BASE, title="Promote 38", body="Two.")

    assert again.number == first.number != elsewhere.number
    assert [pull.title for pull in fake.pulls] == ["Promote 38", "Another way"]


@pytest.mark.parametrize("status", [409, 422])
def test_a_refusal_for_another_cause_changes_nothing(asking: Forge, fake: FakeForge, status: int) -> None:
    """Where none is open, what the forge says is passed on."""
    fake.open("somebody-elses", BASE, title="Mine")
    refusal = Reply(status=status, value={"message": "No commits between the branches"})
    fake.instead = lambda asked: refusal if asked.method == "POST" else None

    with pytest.raises(ForgeUnavailable, match=r"does not take this: .*it says: No commits between the br"):
        asking.create(head=BRANCH, base=BASE, title="Promote 37", body="")

    assert [pull.title for pull in fake.pulls] == ["Mine"]


def test_one_from_a_fork_is_not_ours(asking: Forge, fake: FakeForge) -> None:
    """Whoever has a fork can have a branch of any name in it."""
    fake.open(BRANCH, BASE, from_fork=True, author="mallory")

    assert asking.open_pull_request(BRANCH, BASE) is None
    assert asking.create(head=BRANCH, base=BASE, title="Promote 37", body="").number == 2


def test_it_is_closed_with_a_word_once(asking: Forge, fake: FakeForge) -> None:
    """A repetition says nothing again; the next one can then be opened."""
    made = asking.create(head=BRANCH, base=BASE, title="Promote 37", body="")

    for _ in range(2):
        asking.close(made.number, comment="Release 38 is newer.")

    assert (fake.pull(1).state, fake.pull(1).comments) == ("closed", ["Release 38 is newer."])
    assert asking.open_pull_request(BRANCH, BASE) is None
    assert asking.create(head=BRANCH, base=BASE, title="Promote 38", body="").number == 2


def test_one_that_is_merged_is_not_closed(asking: Forge, fake: FakeForge) -> None:
    """Who merged it was faster."""
    number = fake.add_merged(COMMIT, "ada", "lin")

    asking.close(number, comment="Release 38 is newer.")

    assert (fake.pull(number).state, fake.pull(number).comments) == ("merged", [])


def test_a_close_without_a_word_says_none(asking: Forge, fake: FakeForge) -> None:
    """There is no empty comment."""
    asking.close(fake.open(BRANCH, BASE), comment="")

    assert (fake.pull(1).state, fake.pull(1).comments) == ("closed", [])


def test_ours_is_found_among_many(asking: Forge, fake: FakeForge) -> None:
    """On another page than the first, at a forge that gives fewer a page than it is asked for."""
    fake.open(BRANCH, BASE)
    for number in range(5):
        fake.open(f"feature-{number}", BASE)
    fake.page_limit = 2

    found = asking.open_pull_request(BRANCH, BASE)

    assert found is not None
    assert found.number == 1


def test_one_is_read_by_its_number(asking: Forge, fake: FakeForge) -> None:
    """Open, closed or merged, and with what the merge made."""
    number = fake.open(BRANCH, BASE, author="ada")
    assert (asking.pull_request(number).state, asking.pull_request(number).head) == ("open", BRANCH)
    fake.merge(number, "lin", COMMIT)
    merged = asking.pull_request(number)
    assert (merged.state, merged.merge_commit, merged.merged_by) == ("merged", COMMIT, "lin")
    other = fake.open(BRANCH, BASE)
    fake.pull(other).state = "closed"
    assert asking.pull_request(other).state == "closed"


# --- who brought a commit ------------------------------------------------------------------------------


def test_the_pull_request_that_made_a_commit_is_found(asking: Forge, fake: FakeForge) -> None:
    """With who wrote it and who merged it, whom no list of GitHub's names."""
    number = fake.add_merged(COMMIT, "ada", "lin", head_commit=OTHER)

    found = asking.pull_request_of(COMMIT)

    assert found is not None
    assert (found.number, found.state, found.author, found.merged_by) == (number, "merged", "ada", "lin")
    assert (found.merge_commit, found.head_commit, found.head) == (COMMIT, OTHER, "feature")


def test_a_commit_that_nobody_merged_has_none(asking: Forge, fake: FakeForge) -> None:
    """It was pushed, or its pull request is open still."""
    fake.open(BRANCH, BASE, head_commit=COMMIT)

    assert asking.pull_request_of(COMMIT) is None
    assert asking.pull_request_of(OTHER) is None


def test_which_made_the_commit_goes_before_which_had_it_at_its_head(asking: Forge, fake: FakeForge) -> None:
    """A commit that was merged here is the head of what is merged there."""
    fake.add_merged(OTHER, "mallory", "mallory", head_commit=COMMIT)
    number = fake.add_merged(COMMIT, "ada", "lin")

    found = asking.pull_request_of(COMMIT)

    assert found is not None
    assert (found.number, found.author) == (number, "ada")


def test_only_what_was_merged_into_the_branch_that_is_asked_for(
    asking: Forge, fake: FakeForge, kind: Kind
) -> None:
    """A commit may have come to each environment's branch by a pull request of its own."""
    number = fake.add_merged(COMMIT, "ada", "lin")
    assert asking.pull_request_of(COMMIT, "env/production") is None
    there = fake.add_merged(COMMIT, "bob", "lin")
    fake.pull(there).base = "env/production"
    if kind == "gitea":
        # It knows one by each commit.
        return
    for base, wanted in (("main", number), ("env/production", there), (None, number)):
        found = asking.pull_request_of(COMMIT, base)
        assert found is not None
        assert found.number == wanted


def test_the_head_of_a_fast_forward_is_found(asking: Forge, fake: FakeForge, kind: Kind) -> None:
    """No commit was made by that merge. Gitea names the one that the branch came to."""
    number = fake.add_merged(COMMIT, "ada", "lin", head_commit=COMMIT)
    if kind == "gitlab":
        fake.pull(number).merge_commit = None

    found = asking.pull_request_of(COMMIT)

    assert found is not None
    assert (found.number, found.head_commit) == (number, COMMIT)


def test_a_person_who_is_gone_is_nobody(asking: Forge, fake: FakeForge, kind: Kind) -> None:
    """A deleted account is null, or GitHub's `ghost`."""
    number = fake.add_merged(COMMIT, "ada", "lin")
    fake.pull(number).author, fake.pull(number).merged_by = "", None

    found = asking.pull_request_of(COMMIT)

    assert found is not None
    assert (found.author, found.merged_by) == ("ghost" if kind == "github" else "", None)


# --- reviews -------------------------------------------------------------------------------------------


def test_reviews_are_the_last_word_of_each_person(asking: Forge, fake: FakeForge, kind: Kind) -> None:
    """A comment, or what is not sent yet, takes nothing back; GitLab tells what stands now."""
    number = fake.open(BRANCH, BASE)
    head = fake.pull(number).head_commit
    fake.add_review(number, "ada", "changes_requested", OTHER)
    fake.add_review(number, "lin", "approved")
    fake.add_review(number, "ada", "approved")
    fake.add_review(number, "Lin" if kind != "gitlab" else "lin", "commented")
    fake.add_review(number, "eve", "approved", OTHER)
    fake.add_review(number, "eve", "dismissed", OTHER)
    fake.add_review(number, "bob", "pending")
    fake.add_review(number, "max", "commented")
    fake.add_review(fake.open("another", BASE), "zoe", "approved")

    found = [(review.login, review.state, review.commit) for review in asking.reviews(number)]

    if kind == "gitlab":
        assert found == [("lin", Opinion.APPROVED, ""), ("ada", Opinion.APPROVED, "")]
    else:
        assert found == [
            ("lin", Opinion.APPROVED, head),
            ("ada", Opinion.APPROVED, head),
            ("eve", Opinion.DISMISSED, OTHER),
            ("max", Opinion.COMMENTED, head),
        ]


@pytest.mark.parametrize("kind", ["github", "gitea"])
def test_a_refusal_after_an_approval_is_the_last_word(asking: Forge, fake: FakeForge) -> None:
    """And a comment before any word is replaced by one; the order is by time, not by the list."""
    number = fake.open(BRANCH, BASE)
    fake.add_review(number, "ada", "changes_requested", at=NOON + timedelta(hours=1))
    fake.add_review(number, "ada", "approved", at=NOON)
    fake.add_review(number, "lin", "commented", at=NOON)
    fake.add_review(number, "lin", "approved", at=NOON + timedelta(minutes=1))

    found = asking.reviews(number)

    assert [(review.login, review.state) for review in found] == [
        ("lin", Opinion.APPROVED),
        ("ada", Opinion.CHANGES_REQUESTED),
    ]
    assert [review.at for review in found] == [NOON + timedelta(minutes=1), NOON + timedelta(hours=1)]
    assert all(review.url.startswith("https://forge.example/") for review in found)


@pytest.mark.parametrize("kind", ["gitlab"])
def test_a_gitlab_that_does_not_say_when_counts_from_the_first_day(asking: Forge, fake: FakeForge) -> None:
    """So an approval may end too early, and never too late."""
    assert isinstance(fake, FakeGitLab)
    fake.tells_when = False
    number = fake.open(BRANCH, BASE, created=NOON)
    fake.add_review(number, "ada", "approved")

    (review,) = asking.reviews(number)

    assert (review.login, review.at) == ("ada", NOON)


@pytest.mark.parametrize("kind", ["gitlab"])
def test_who_asks_gitlab_for_changes_is_heard(asking: Forge, fake: FakeForge) -> None:
    """It tells so of reviewers, and since when they are one: the time of their word it does not tell."""
    number = fake.open(BRANCH, BASE)
    fake.add_review(number, "ada", "requested", at=NOON)
    fake.add_review(number, "ada", "approved", at=NOON + timedelta(hours=1))
    fake.add_review(number, "ada", "changes_requested", at=NOON + timedelta(hours=2))
    fake.add_review(number, "lin", "changes_requested", at=NOON)
    fake.add_review(number, "lin", "approved", at=NOON + timedelta(hours=3))
    for who, state in (("bob", "requested"), ("max", "pending"), ("eve", "commented"), ("zoe", "dismissed")):
        fake.add_review(number, who, state, at=NOON)

    found = [(review.login, review.state, review.at, review.commit) for review in asking.reviews(number)]

    assert found == [
        ("ada", Opinion.CHANGES_REQUESTED, NOON, ""),
        ("lin", Opinion.APPROVED, NOON + timedelta(hours=3), ""),
    ]


@pytest.mark.parametrize("kind", ["gitlab"])
def test_who_approves_and_asks_for_changes_asks_for_changes(asking: Forge, fake: FakeForge) -> None:
    """GitLab changes the one after the other: what is seen between them is no approval."""
    number = fake.open(BRANCH, BASE)
    fake.add_review(number, "Ada", "approved", at=NOON)
    between = [
        {
            "user": {"id": 1, "username": "ada"},
            "state": "requested_changes",
            "created_at": "2026-03-01T11:00:00Z",
        }
    ]
    fake.instead = partial(_instead_of_reviewers, Reply(value=between))

    assert [review.state for review in asking.reviews(number)] == [Opinion.CHANGES_REQUESTED]


def _instead_of_reviewers(reply: Reply, asked: Asked) -> Reply | None:
    """The answer to who asks how the reviewers stand."""
    return reply if asked.path.endswith("/reviewers") else None


@pytest.mark.parametrize("kind", ["gitlab"])
def test_an_old_gitlab_has_nobody_who_asks_for_changes(asking: Forge, fake: FakeForge) -> None:
    """It does not know the question. Any other refusal of it is one."""
    assert isinstance(fake, FakeGitLab)
    number = fake.open(BRANCH, BASE)
    fake.add_review(number, "ada", "approved")
    fake.has_reviewers = False
    assert [review.login for review in asking.reviews(number)] == ["ada"]

    for status in (403, 500):
        fake.instead = partial(_instead_of_reviewers, Reply(status=status, value={"message": "No"}))
        with pytest.raises(ForgeUnavailable):
            asking.reviews(number)


@pytest.mark.parametrize("kind", ["gitlab"])
def test_all_reviewers_are_read(asking: Forge, fake: FakeForge) -> None:
    """The one who asks for changes may be on the last page; and a word that nobody knows is no approval."""
    number = fake.open(BRANCH, BASE)
    for who in range(120):
        fake.add_review(number, f"person-{who}", "pending")
    fake.add_review(number, "zoe", "changes_requested")
    assert [review.login for review in asking.reviews(number)] == ["zoe"]

    unknown = {"user": {"username": "zoe"}, "state": "vetoed", "created_at": "2026-03-01T11:00:00Z"}
    fake.instead = partial(_instead_of_reviewers, Reply(value=[unknown]))
    with pytest.raises(ForgeUnavailable, match="a word of GitLab's as a reviewer's `state`"):
        asking.reviews(number)


def test_all_reviews_are_read(asking: Forge, fake: FakeForge) -> None:
    """The last word may be on the last page."""
    number = fake.open(BRANCH, BASE)
    for who in range(70):
        fake.add_review(number, f"person-{who}", "approved")

    assert len(asking.reviews(number)) == 70


# --- checks --------------------------------------------------------------------------------------------


def test_a_commit_without_checks_has_none(asking: Forge, fake: FakeForge) -> None:
    """Also where Gitea answers with an empty body, and where it answers with null."""
    assert asking.checks(COMMIT) == ()
    if isinstance(fake, FakeGitea):
        fake.says_nothing = False
        assert asking.checks(COMMIT) == ()


def test_the_newest_of_each_check_counts(asking: Forge, fake: FakeForge) -> None:
    """One that failed and was run again, one that is on its way, one of another commit."""
    fake.add_check(COMMIT, "ci/test", "failure", url="https://ci.example/1")
    fake.add_check(COMMIT, "ci/lint", "pending")
    fake.add_check(COMMIT, "ci/test", "success", url="https://ci.example/2", description="12 passed")
    fake.add_check(COMMIT, "ci/slow", "failure", description="1 failed")
    fake.add_check(OTHER, "ci/elsewhere", "success")

    found = {check.name: check for check in asking.checks(COMMIT)}

    assert {name: check.state for name, check in found.items()} == {
        "ci/lint": State.PENDING,
        "ci/slow": State.FAILURE,
        "ci/test": State.SUCCESS,
    }
    assert (found["ci/test"].url, found["ci/test"].description) == ("https://ci.example/2", "12 passed")
    assert found["ci/lint"].url is None


def test_a_rerun_of_a_green_check_is_on_its_way_again(asking: Forge, fake: FakeForge) -> None:
    """What was green is not, until it is over."""
    fake.add_check(COMMIT, "ci/test", "success")
    fake.add_check(COMMIT, "ci/test", "pending")

    (check,) = asking.checks(COMMIT)

    assert check.state is State.PENDING


def test_many_checks_are_read_page_by_page(asking: Forge, fake: FakeForge) -> None:
    """More than fit on one page, statuses and (at GitHub) check runs; each page by our own number."""
    for number in range(120):
        fake.add_check(COMMIT, f"ci/{number}", "success", is_run=number % 2 == 0)

    assert len(asking.checks(COMMIT)) == 120


@pytest.mark.parametrize(
    ("kind", "word", "state"),
    [
        ("github", "neutral", State.SUCCESS),
        ("github", "skipped", State.SUCCESS),
        ("github", "cancelled", State.FAILURE),
        ("github", "timed_out", State.FAILURE),
        ("github", "action_required", State.FAILURE),
        ("gitlab", "created", State.PENDING),
        ("gitlab", "manual", State.PENDING),
        ("gitlab", "running", State.PENDING),
        ("gitlab", "canceled", State.FAILURE),
        ("gitlab", "skipped", State.FAILURE),
        ("gitea", "warning", State.SUCCESS),
        ("gitea", "error", State.FAILURE),
    ],
)
def test_each_word_of_a_forge_is_understood(
    asking: Forge, fake: FakeForge, kind: Kind, word: str, state: State
) -> None:
    """As the forge itself takes it where it asks for green checks before a merge."""
    fake.add_check(COMMIT, "ci/test", word)

    (check,) = asking.checks(COMMIT)

    assert check.state is state


@pytest.mark.parametrize("kind", ["github"])
def test_a_status_and_a_run_of_one_name_have_to_be_green_both(asking: Forge, fake: FakeForge) -> None:
    """So GitHub itself takes a required name; and a run of another App hides nothing."""
    fake.add_check(COMMIT, "ci/both", "failure", is_run=False)
    fake.add_check(COMMIT, "ci/both", "success", is_run=True)
    fake.add_check(COMMIT, "ci/apps", "failure", by=1)
    fake.add_check(COMMIT, "ci/apps", "success", by=2)

    assert {check.name: check.state for check in asking.checks(COMMIT)} == {
        "ci/both": State.FAILURE,
        "ci/apps": State.FAILURE,
    }


# --- statuses ------------------------------------------------------------------------------------------


def test_a_status_is_set_and_seen_among_the_checks(asking: Forge, fake: FakeForge) -> None:
    """It changes in place; to set it twice is harmless, also at GitLab, which refuses the second."""
    link = "https://deployer.example/environments/production"
    told = {"context": "deployer/production", "url": link}
    for _ in range(2):
        asking.set_status(COMMIT, state=State.PENDING, description="waits for an approval", **told)
    assert fake.statuses(COMMIT) == {"deployer/production": ("pending", "waits for an approval", link)}

    for _ in range(2):
        asking.set_status(COMMIT, state=State.SUCCESS, description="every gate is open", **told)
    (check,) = asking.checks(COMMIT)
    assert (check.name, check.state, check.url) == ("deployer/production", State.SUCCESS, link)

    asking.set_status(
        COMMIT, context="deployer/production", state=State.FAILURE, description="held", url=None
    )
    assert fake.statuses(COMMIT) == {"deployer/production": ("failure", "held", None)}


def test_each_state_is_told_in_the_words_of_the_forge(asking: Forge, fake: FakeForge, kind: Kind) -> None:
    """What is under way, and what was given up: only GitLab has words of its own for both."""
    words = []
    for state in State:
        asking.set_status(COMMIT, context=f"c/{state}", state=state, description="", url=None)
        words.append(fake.statuses(COMMIT)[f"c/{state}"][0])

    given_up = {"github": "error", "gitlab": "canceled", "gitea": "warning"}[kind]
    running = "running" if kind == "gitlab" else "pending"
    assert words == ["success", "pending", "failure", running, given_up]


def test_what_waits_may_go_on_and_end(asking: Forge, fake: FakeForge) -> None:
    """From each state to the next that a rollout has, and from an end to a new beginning."""
    way = [State.PENDING, State.RUNNING, State.RUNNING, State.FAILURE, State.RUNNING, State.SUCCESS]
    for state in (*way, State.RUNNING, State.CANCELLED, State.PENDING, State.SUCCESS):
        asking.set_status(COMMIT, context="deployer/production", state=state, description="", url=None)

    assert fake.statuses(COMMIT)["deployer/production"][0] == "success"


def test_a_status_that_is_too_long_is_cut(asking: Forge, fake: FakeForge, kind: Kind) -> None:
    """GitHub refuses a description of more than 140 characters, GitLab a link of more than 255."""
    link = "https://deployer.example/" + "x" * 300
    asking.set_status(COMMIT, context="deployer", state=State.PENDING, description="é\n" * 200, url=link)

    ((_, description, url),) = fake.statuses(COMMIT).values()
    most = 255 if kind == "gitlab" else 140
    assert most - 1 <= len(description) <= most
    assert description.startswith("é é é")
    assert description.endswith("é...")
    assert url == (None if kind == "gitlab" else link)


def test_a_status_that_is_refused_for_another_cause_is_said(asking: Forge, fake: FakeForge) -> None:
    """Only what is there already is no error."""
    said = "Cannot transition status via :success from :running"
    fake.instead = lambda _: Reply(status=400, value={"message": said})

    with pytest.raises(ForgeUnavailable, match=f"does not take this: .*it says: {said}"):
        asking.set_status(COMMIT, context="deployer", state=State.SUCCESS, description="", url=None)


def test_what_is_no_commit_is_not_asked_for(asking: Forge, fake: FakeForge) -> None:
    """A branch's name in its place would be answered, for whatever is there by then."""
    for wrong in ("main", COMMIT[:12], COMMIT.upper(), f"{COMMIT}/../x"):
        with pytest.raises(ValueError, match="is no commit"):
            asking.checks(wrong)
        with pytest.raises(ValueError, match="is no commit"):
            asking.pull_request_of(wrong)
        with pytest.raises(ValueError, match="is no commit"):
            asking.set_status(wrong, context="x", state=State.PENDING, description="", url=None)
    assert fake.requests == []
