"""Sources on real repositories: what is published, when, and how fast."""

from __future__ import annotations

import resource
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from deployer.adapters.git import Mirror
from deployer.core.errors import InvalidConfig
from deployer.core.source import Branch
from deployer.core.types import Absent, Desired, Invalid, NotRead, Policy, Rewritten, Unverified
from deployer.engine.sources import EnvironmentSource, RepositoryLook, RepositorySpec, Sources
from deployer.engine.sources._reading import ParsedFile
from deployer.engine.sources._watch import Watcher
from tests.support.eventually import eventually
from tests.support.git_server import serving
from tests.support.repos import BareRepo, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.core.types import Wanted

NEVER = 3600.0
"""A poll interval that no test lives to see: what happens before it was not the poll."""

SOON = 0.2


def config(price: int = 1) -> str:
    """A Serve config whose digest depends on the price."""
    return f"applications:\n- name: fruit\n  import_path: fruit:app\n  args: {{price: {price}}}\n"


@dataclass
class Site:
    """Sources, what they enqueued and what they told."""

    folder: Path
    enqueued: list[str] = field(default_factory=list)
    looks: list[RepositoryLook] = field(default_factory=list)
    started: list[Sources] = field(default_factory=list)

    def follow(
        self,
        urls: dict[str, str],
        environments: list[EnvironmentSource],
        *,
        poll: float = NEVER,
        **options: Any,
    ) -> Sources:
        """Start following repositories by name and URL."""
        usual = {"enqueue": self.enqueued.append, "on_look": self.looks.append}
        sources = Sources(
            repositories=[
                RepositorySpec(name=name, url=url, poll_seconds=poll) for name, url in urls.items()
            ],
            environments=environments,
            mirrors_dir=self.folder / "mirrors",
            **usual | options,
        )
        sources.start()
        self.started.append(sources)
        return sources


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder for mirrors; what follows repositories in it is stopped when the test ends."""
    site = Site(tmp_path)
    yield site
    for sources in site.started:
        sources.stop(5.0)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("git-")] == []


@pytest.fixture
def origin(tmp_path: Path) -> BareRepo:
    """A repository that the team pushes to."""
    return BareRepo(tmp_path / "origin.git")


def environment(
    name: str, *, branch: str = "main", repository: str = "configs", path: str = ""
) -> EnvironmentSource:
    """An environment in the usual folder of a branch."""
    return EnvironmentSource(
        environment=name,
        repository=repository,
        source=Branch(branch),
        path=path or f"environments/{name}",
    )


def file(name: str, kind: str = "serve_config") -> str:
    """The path of an environment's file."""
    return f"environments/{name}/{kind}.yaml"


def at(sources: Sources, name: str, commit: str) -> Callable[[], Wanted | None]:
    """The published state of an environment, once it comes from this commit."""

    def look() -> Wanted | None:
        wanted = sources.wanted(name)
        match wanted:
            case Desired():
                return wanted if wanted.release.revision.commit == commit else None
            case Invalid():
                return wanted if wanted.revision.commit == commit else None
            case Unverified() | Rewritten() | Absent() | NotRead():
                return None

    return look


def is_absent(sources: Sources, name: str) -> Callable[[], Absent | None]:
    """The published state of an environment, once it is absent."""

    def look() -> Absent | None:
        wanted = sources.wanted(name)
        return wanted if isinstance(wanted, Absent) else None

    return look


# --- what is published -----------------------------------------------------------------------------------


def test_a_commit_is_published_with_its_config_policy_and_notes(site: Site, origin: BareRepo) -> None:
    """Both files of the folder, read at the commit; the environment is enqueued once it is published."""
    old_form = "import_path: fruit:app\n"
    commit = origin.commit(
        {file("staging"): old_form, file("staging", "environment"): "rollback: {on: false}\n"},
        message="Raise price",
    )
    sources = site.follow({"configs": origin.url}, [environment("staging")])

    wanted = eventually(at(sources, "staging", commit), within=5.0)

    assert isinstance(wanted, Desired)
    assert wanted.release.revision.subject == "Raise price"
    assert list(wanted.release.config.applications()) == ["default"]
    assert wanted.policy == Policy(rollback=False)
    assert len(wanted.notes) == 1
    eventually(lambda: site.enqueued == ["staging"], within=1.0)


def test_before_the_first_look_nothing_is_known(site: Site, origin: BareRepo) -> None:
    """An environment that was not read yet says so; one that nobody follows is an error."""
    sources = Sources(
        repositories=[RepositorySpec(name="configs", url=origin.url, poll_seconds=NEVER)],
        environments=[environment("staging")],
        mirrors_dir=site.folder / "mirrors",
        enqueue=site.enqueued.append,
    )

    assert sources.wanted("staging") == NotRead(why="the first look at repository configs is under way")
    with pytest.raises(KeyError):
        sources.wanted("production")


def test_directory_and_branch_layouts_can_be_mixed(site: Site, origin: BareRepo) -> None:
    """Two environments on one branch, one on its own branch, one in the root of a third."""
    main = origin.commit({file("dev"): config(1), file("staging"): config(2)})
    production = origin.commit({file("production"): config(3)}, branch="env/production")
    root = origin.commit({"serve_config.yaml": config(4)}, branch="root")
    sources = site.follow(
        {"configs": origin.url},
        [
            environment("dev"),
            environment("staging"),
            environment("production", branch="env/production"),
            environment("root", branch="root", path="."),
        ],
    )

    expected = {"dev": main, "staging": main, "production": production, "root": root}
    published = {name: eventually(at(sources, name, commit), within=5.0) for name, commit in expected.items()}

    digests = {wanted.release.digest for wanted in published.values() if isinstance(wanted, Desired)}
    assert len(digests) == 4


def test_a_commit_to_another_folder_is_published_and_makes_no_work(site: Site, origin: BareRepo) -> None:
    """The revision moves on, the digest stays, nobody is enqueued but the environment that changed."""
    origin.commit({file("staging"): config(), file("production"): config()})
    sources = site.follow({"configs": origin.url}, [environment("staging"), environment("production")])
    eventually(lambda: sorted(site.enqueued) == ["production", "staging"], within=5.0)
    before = sources.wanted("staging")
    site.enqueued.clear()

    readme = origin.commit({"README.md": "hello"})
    after = eventually(at(sources, "staging", readme), within=5.0)
    changed = origin.commit({file("production"): config(2)})
    eventually(at(sources, "staging", changed), within=5.0)

    assert isinstance(before, Desired)
    assert isinstance(after, Desired)
    assert after.release.config is before.release.config
    eventually(lambda: site.enqueued == ["production"], within=1.0)


@pytest.mark.parametrize(
    ("files", "problems"),
    [
        pytest.param({file("staging"): "applications: [\n"}, [file("staging")], id="syntax"),
        pytest.param(
            {file("staging"): config().replace("import_path", "import_pth")}, [file("staging")], id="typo"
        ),
        pytest.param({file("staging"): Link("/etc/passwd")}, [file("staging")], id="link"),
        pytest.param(
            {file("staging"): config(), file("staging", "environment"): "rollbck: 1\n"},
            [file("staging", "environment")],
            id="policy",
        ),
        pytest.param(
            {file("staging"): "applications: 1\n", file("staging", "environment"): "- 1\n"},
            [file("staging"), file("staging", "environment")],
            id="both",
        ),
        pytest.param(
            {file("staging"): config(), file("staging", "environment"): "owns: [math]\n"},
            [file("staging", "environment")],
            id="they do not fit",
        ),
    ],
)
def test_files_that_cannot_be_used_are_published_as_invalid(
    site: Site, origin: BareRepo, files: dict[str, Any], problems: list[str]
) -> None:
    """With every file's problems, by the names the files have in the repository."""
    commit = origin.commit(files)
    sources = site.follow({"configs": origin.url}, [environment("staging")])

    wanted = eventually(at(sources, "staging", commit), within=5.0)

    assert isinstance(wanted, Invalid)
    assert sorted({problem.file for problem in wanted.problems}) == sorted(problems)


def test_a_policy_is_judged_beside_the_config_of_its_own_commit(site: Site, origin: BareRepo) -> None:
    """A check of an application that this very commit took away is an error, with its place; then it fits."""
    check = "checks:\n- {app: fruit, path: /fruit}\n"
    renamed = config().replace("name: fruit", "name: market")
    commit = origin.commit({file("staging"): renamed, file("staging", "environment"): check})
    sources = site.follow({"configs": origin.url}, [environment("staging")])

    wanted = eventually(at(sources, "staging", commit), within=5.0)
    fixed = origin.commit({file("staging"): config()})
    after = eventually(at(sources, "staging", fixed), within=5.0)

    assert isinstance(wanted, Invalid)
    assert [str(problem) for problem in wanted.problems] == [
        "environments/staging/environment.yaml:2:9: checks[0].app: serve_config.yaml has no application"
        " 'fruit'\n    - {app: fruit, path: /fruit}\n"
        "            ^"
    ]
    assert isinstance(after, Desired)
    assert [check.app for check in after.policy.checks] == ["fruit"]


def test_no_applications_at_all_is_wanted(site: Site, origin: BareRepo) -> None:
    """It can be read; whether it is done is not for the sources to say."""
    commit = origin.commit({file("staging"): "applications: []\n"})
    sources = site.follow({"configs": origin.url}, [environment("staging")])

    wanted = eventually(at(sources, "staging", commit), within=5.0)

    assert isinstance(wanted, Desired)
    assert wanted.release.config.applications() == {}


def test_what_is_not_there_is_absent_with_its_name(site: Site, origin: BareRepo) -> None:
    """A missing branch, a missing folder, a deleted branch: each is named, none is an error."""
    origin.commit({file("staging"): config()})
    origin.commit({file("production"): config()}, branch="env/production")
    sources = site.follow(
        {"configs": origin.url},
        [
            environment("dev"),
            environment("qa", branch="env/qa"),
            environment("production", branch="env/production"),
        ],
    )

    dev, qa = (eventually(is_absent(sources, name), within=5.0) for name in ("dev", "qa"))
    assert dev.why == "there is no environments/dev/serve_config.yaml on branch main of repository configs"
    assert qa.why == "there is no branch env/qa in repository configs"

    origin.delete("env/production")
    gone = eventually(is_absent(sources, "production"), within=5.0)
    assert gone.why == "there is no branch env/production in repository configs"


def test_a_poisonous_file_costs_its_environment_alone(site: Site, origin: BareRepo) -> None:
    """Nested brackets kill the C loader and exhaust a recursive one; the neighbours do not notice."""
    commit = origin.commit({file("bad"): "[" * 100_000, file("good"): config()})
    sources = site.follow({"configs": origin.url}, [environment("bad"), environment("good")])

    bad = eventually(at(sources, "bad", commit), within=20.0)
    good = eventually(at(sources, "good", commit), within=20.0)

    assert isinstance(bad, Invalid)
    assert isinstance(good, Desired)


def test_a_bug_in_a_parser_costs_its_file_alone_and_tells_no_secret(origin: BareRepo, tmp_path: Path) -> None:
    """Any error of a parser becomes a problem of that file; its text, which may quote the file, stays out."""
    commit = origin.commit({"x.yaml": "hunter22"})
    mirror = Mirror(tmp_path / "mirror.git", origin.url)
    mirror.fetch(mirror.heads(["refs/heads/main"]))

    def fail(data: bytes, name: str) -> str:
        raise RecursionError(data)

    with capture_logs() as logs:
        outcome = ParsedFile("x.yaml", fail).at(mirror, commit)
    mirror.close()

    assert isinstance(outcome, InvalidConfig)
    assert str(outcome) == (
        "x.yaml: deployer itself failed on this file (RecursionError): that is a bug in deployer; see its log"
    )
    assert [entry["error"] for entry in logs] == ["RecursionError"]
    assert "hunter22" not in str(logs)


def test_a_commit_that_cannot_be_read_keeps_no_other_branch_waiting(site: Site, origin: BareRepo) -> None:
    """An absurd commit message (17 MB) costs the environments on its branch, and its sentence says so."""
    good = origin.commit({file("good"): config()}, branch="good")
    origin.commit({file("bad"): config()}, branch="bad", message="x" * 17_000_000)
    environments = [environment("bad", branch="bad"), environment("good", branch="good")]
    sources = site.follow({"configs": origin.url}, environments)

    assert isinstance(eventually(at(sources, "good", good), within=10.0), Desired)
    eventually(lambda: "at most 16,777,216 are read" in str(sources.wanted("bad")), within=10.0)
    assert isinstance(sources.wanted("bad"), NotRead)


# --- when it is published --------------------------------------------------------------------------------


@pytest.mark.parametrize("branch", ["main", "env/eu/staging"])
def test_a_push_to_a_local_repository_is_seen_at_once(
    site: Site, origin: BareRepo, tmp_path: Path, branch: str
) -> None:
    """A real push wakes the look, hours before the poll; also on a nested branch, also after packing."""
    team = BareRepo(tmp_path / "team.git")
    team.commit({file("staging"): config(0)}, branch=branch)
    team.push_to(origin, branch)
    sources = site.follow({"configs": origin.url}, [environment("staging", branch=branch)])
    eventually(lambda: site.enqueued, within=5.0)

    for price in (1, 2):
        commit = team.commit({file("staging"): config(price)}, branch=branch)
        team.push_to(origin, branch)
        eventually(at(sources, "staging", commit), within=3.0, every=0.005)
        origin.pack_refs()


def test_a_branch_in_a_new_folder_is_seen_at_once(site: Site, origin: BareRepo) -> None:
    """The folder of a nested branch name appears after the watch was set, and is watched too."""
    origin.commit({"README.md": "x"})
    sources = site.follow({"configs": origin.url}, [environment("staging", branch="env/eu/staging")])
    eventually(is_absent(sources, "staging"), within=5.0)

    commit = origin.commit({file("staging"): config()}, branch="env/eu/staging")
    eventually(at(sources, "staging", commit), within=3.0)
    again = origin.commit({file("staging"): config(2)}, branch="env/eu/staging")

    assert isinstance(eventually(at(sources, "staging", again), within=3.0), Desired)


def test_a_commit_in_a_repository_with_a_work_tree_is_seen_at_once(site: Site, tmp_path: Path) -> None:
    """A developer's own clone, named by its path, is watched in its .git."""
    (tmp_path / "clone").mkdir()
    clone = BareRepo(tmp_path / "clone" / ".git")
    clone.commit({file("staging"): config()})
    sources = site.follow({"configs": str(tmp_path / "clone")}, [environment("staging")])
    eventually(lambda: site.enqueued, within=5.0)

    commit = clone.commit({file("staging"): config(2)})

    assert eventually(at(sources, "staging", commit), within=3.0)


def test_a_look_is_not_taken_for_a_change(origin: BareRepo, tmp_path: Path) -> None:
    """Reading a watched repository opens its files; a look that woke the next one would never end."""
    origin.commit({file("staging"): config()})
    calls: list[float] = []
    watcher = Watcher()
    watcher.start()
    watch = watcher.watch(origin.url, lambda: calls.append(time.monotonic()))
    watch.keep()
    mirror = Mirror(tmp_path / "mirror.git", origin.url)
    for _ in range(3):
        mirror.fetch(mirror.heads(["refs/heads/main"]))
    mirror.close()
    before = time.monotonic()

    origin.commit({file("staging"): config(2)})

    # The kernel reports in order, so what the looks did would have come first.
    eventually(lambda: calls, within=3.0)
    watcher.stop()
    assert calls[0] > before


def test_without_a_watch_the_poll_sees_a_push(site: Site, origin: BareRepo) -> None:
    """The watch is only ever faster; it is never what the truth depends on."""
    origin.commit({file("staging"): config()})
    sources = site.follow({"configs": origin.url}, [environment("staging")], poll=SOON, watch=False)
    eventually(lambda: site.enqueued, within=5.0)

    commit = origin.commit({file("staging"): config(2)})

    assert eventually(at(sources, "staging", commit), within=5.0)


def test_look_now_does_not_wait_for_the_poll(site: Site, origin: BareRepo) -> None:
    """What a webhook or a person asks for happens at once."""
    origin.commit({file("staging"): config()})
    sources = site.follow({"configs": origin.url}, [environment("staging")], watch=False)
    eventually(lambda: site.enqueued, within=5.0)

    commit = origin.commit({file("staging"): config(2)})
    sources.look_now("configs")

    assert eventually(at(sources, "staging", commit), within=3.0)
    with pytest.raises(KeyError):
        sources.look_now("other")


def test_a_repository_that_is_made_after_the_start_is_followed_and_watched(
    site: Site, tmp_path: Path
) -> None:
    """Nothing there is trouble; once it is there it is read, and from then on pushes are seen at once."""
    url = (tmp_path / "later.git").as_uri()
    sources = site.follow({"configs": url}, [environment("staging")], poll=SOON)
    eventually(lambda: "there is no git repository" in str(sources.wanted("staging")), within=5.0)

    later = BareRepo(tmp_path / "later.git")
    first = later.commit({file("staging"): config()})
    sources.look_now("configs")
    eventually(at(sources, "staging", first), within=5.0)
    second = later.commit({file("staging"): config(2)})

    assert eventually(at(sources, "staging", second), within=3.0)


@pytest.mark.parametrize("how", ["deleted", "moved", "branches only"])
def test_a_repository_that_is_replaced_is_watched_again(
    site: Site, origin: BareRepo, tmp_path: Path, how: str
) -> None:
    """A new repository in the old one's place: its pushes are seen at once, after one look."""
    origin.commit({file("staging"): config(1)})
    sources = site.follow({"configs": origin.url}, [environment("staging")])
    eventually(lambda: site.enqueued, within=5.0)
    if how == "deleted":
        shutil.rmtree(origin.path)
    elif how == "moved":
        origin.path.rename(tmp_path / "old.git")
    else:
        origin.pack_refs()
        # On many file systems the new folder gets the deleted one's number.
        shutil.rmtree(origin.path / "refs" / "heads")
        (origin.path / "refs" / "heads").mkdir()
    replacement = BareRepo(origin.path)
    first = replacement.commit({file("staging"): config(2)})
    sources.look_now("configs")
    eventually(at(sources, "staging", first), within=5.0)

    for price in (3, 4):
        commit = replacement.commit({file("staging"): config(price)})
        eventually(at(sources, "staging", commit), within=3.0)

    assert isinstance(sources.wanted("staging"), Desired)


# --- trouble ---------------------------------------------------------------------------------------------


def test_a_restart_with_the_remote_down_goes_on_from_the_mirror(site: Site, origin: BareRepo) -> None:
    """What was fetched before the restart is wanted still; what never was, is not known."""
    commit = origin.commit({file("staging"): config()})
    first = site.follow({"configs": origin.url}, [environment("staging")])
    eventually(lambda: site.enqueued, within=5.0)
    first.stop(5.0)
    origin.path.rename(site.folder / "gone.git")

    second = site.follow({"configs": origin.url}, [environment("staging"), environment("new", branch="new")])

    assert isinstance(eventually(at(second, "staging", commit), within=5.0), Desired)
    eventually(lambda: "there is no git repository: check the URL" in str(second.wanted("new")), within=5.0)
    assert isinstance(second.wanted("new"), NotRead)


def test_trouble_and_its_end_are_told_once_and_take_nothing_back(site: Site, origin: BareRepo) -> None:
    """While a remote is down its environments stay as they were published; then they move on."""
    commit = origin.commit({file("staging"): config()})
    sources = site.follow({"configs": origin.url}, [environment("staging")], poll=SOON)
    published = eventually(at(sources, "staging", commit), within=5.0)
    site.looks.clear()

    origin.path.rename(site.folder / "gone.git")
    trouble = eventually(lambda: site.looks, within=5.0)[0]
    assert trouble.unavailable == f"cannot read {origin.url}: there is no git repository: check the URL"
    assert trouble.since is not None
    sources.look_now("configs")
    assert sources.wanted("staging") is published

    (site.folder / "gone.git").rename(origin.path)
    newer = origin.commit({file("staging"): config(2)})
    sources.look_now("configs")
    eventually(at(sources, "staging", newer), within=5.0)
    end = eventually(lambda: [look for look in site.looks if look.recovered], within=5.0)
    assert [look.since for look in end] == [trouble.since]
    assert [look.unavailable for look in site.looks if look.unavailable] == [trouble.unavailable]


def test_a_look_tells_which_branches_moved(site: Site, origin: BareRepo) -> None:
    """From what to what, with who and why; a deleted branch moved to nothing."""
    old = origin.commit({file("staging"): config()})
    sources = site.follow({"configs": origin.url}, [environment("staging")])
    eventually(at(sources, "staging", old), within=5.0)
    site.looks.clear()

    new = origin.commit({file("staging"): config(2)}, message="Raise price")
    eventually(at(sources, "staging", new), within=5.0)
    origin.delete("main")
    eventually(is_absent(sources, "staging"), within=5.0)

    pushed, deleted = [moved for look in site.looks for moved in look.moved]
    assert (pushed.ref, pushed.old, pushed.new and pushed.new.subject) == (
        "refs/heads/main",
        old,
        "Raise price",
    )
    assert (deleted.old, deleted.new) == (new, None)


def test_one_repository_that_hangs_delays_no_other(site: Site, origin: BareRepo, tmp_path: Path) -> None:
    """A server that never answers holds its own thread only, and a stop does not wait for it."""
    commit = origin.commit({file("staging"): config()})
    BareRepo(tmp_path / "hung.git")
    with serving(tmp_path) as server:
        server.hold.set()
        environments = [environment("hung", repository="hung"), environment("staging")]
        sources = site.follow({"hung": server.url("hung.git"), "configs": origin.url}, environments)

        assert isinstance(eventually(at(sources, "staging", commit), within=5.0), Desired)
        eventually(lambda: server.requests == 1, within=5.0)
        assert isinstance(sources.wanted("hung"), NotRead)
        before = time.monotonic()
        sources.stop(30.0)

        assert time.monotonic() - before < 15.0


def test_a_bug_in_a_look_costs_one_look(site: Site, origin: BareRepo) -> None:
    """The thread goes on, and says that there is a bug."""
    origin.commit({file("staging"): config()})
    failures = [RuntimeError("a bug in the queue")]

    def enqueue(name: str) -> None:
        if failures:
            raise failures.pop()

    sources = site.follow({"configs": origin.url}, [environment("staging")], enqueue=enqueue)
    told = eventually(lambda: [look.unavailable for look in site.looks if look.unavailable], within=5.0)
    assert "deployer itself failed on repository configs (RuntimeError)" in told[0]

    commit = origin.commit({file("staging"): config(2)})

    assert eventually(at(sources, "staging", commit), within=5.0)


def test_a_machine_out_of_descriptors_only_loses_the_watch(origin: BareRepo) -> None:
    """It is said once, and the poll is left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    watcher = Watcher()
    with capture_logs() as logs:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        watcher.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        watcher.watch(origin.url, lambda: None).keep()
        watcher.stop()

    assert [entry["event"] for entry in logs] == ["watch_unavailable"]


def test_a_listener_that_fails_stops_nothing(site: Site, origin: BareRepo) -> None:
    """Who only watches cannot keep a commit from being published."""

    def fail(look: RepositoryLook) -> None:
        message = "a bug in a listener"
        raise RuntimeError(message)

    commit = origin.commit({file("staging"): config()})
    sources = site.follow({"a/b": origin.url}, [environment("staging", repository="a/b")], on_look=fail)

    assert eventually(at(sources, "staging", commit), within=5.0)
    assert (site.folder / "mirrors" / "a%2Fb.git").is_dir()


def test_a_look_that_was_asked_for_is_told_from_those_before(site: Site, origin: BareRepo) -> None:
    """Once the looks have reached its number, what was pushed before it is published; trouble is told too."""
    origin.commit({file("staging"): config()})
    sources = site.follow({"configs": origin.url}, [environment("staging")], watch=False)

    def look() -> str | None:
        number = sources.look_now("configs")
        eventually(lambda: sources.looks("configs").ended >= number, within=5.0)
        return sources.looks("configs").trouble

    for price in range(2, 6):
        commit = origin.commit({file("staging"): config(price)})
        assert look() is None
        assert at(sources, "staging", commit)()

    shutil.rmtree(origin.path)
    assert look()


@pytest.mark.parametrize(
    ("branch", "path", "why"),
    [
        ("a..b", "environments/x", "full branch name"),
        ("main", "/etc", "not a path inside a repository"),
        ("main", "environments/../..", "not a path inside a repository"),
    ],
)
def test_an_environment_that_points_outside_its_repository_cannot_be_made(
    branch: str, path: str, why: str
) -> None:
    """A wrong value is refused where it is made."""
    with pytest.raises(ValueError, match=why):
        EnvironmentSource(environment="x", repository="configs", source=Branch(branch), path=path)


SURGE = """\
applications:
- name: fruit
  import_path: good:app
  deployments: [{name: D, max_surge_percent: 100}]
"""


def test_a_config_is_checked_for_the_ray_of_its_cluster(site: Site, origin: BareRepo) -> None:
    """Again once that is known, or another; and who waits for it is told, whatever comes of it."""
    commit = origin.commit({file("staging"): SURGE})
    sources = site.follow({"configs": origin.url}, [environment("staging")])
    assert sources.runs("staging", "2.60.0"), "nothing was read yet"
    wanted = eventually(at(sources, "staging", commit), within=10.0)
    assert isinstance(wanted, Desired)
    assert sources.runs("staging", "2.60.1")

    def told() -> int:
        return site.enqueued.count("staging")

    before = told()
    assert not sources.runs("staging", "2.40.0")
    eventually(lambda: isinstance(sources.wanted("staging"), Invalid), within=10.0)
    eventually(lambda: told() > before, within=10.0)
    assert sources.runs("staging", "2.40.0")
    refused = sources.wanted("staging")
    assert isinstance(refused, Invalid)
    assert "unknown key 'max_surge_percent' in deployment 'D'" in refused.problems[0].message

    before = told()
    assert not sources.runs("staging", "2.59.0")
    eventually(lambda: sources.runs("staging", "2.59.0"), within=10.0)
    eventually(lambda: told() > before, within=10.0, what="it is told although nothing else has changed")
    assert not sources.runs("staging", "99.0 and not a version")


def test_a_pinned_ray_counts_more_than_that_of_the_cluster(site: Site, origin: BareRepo) -> None:
    """And one that is not known is refused, where it stands."""
    pinned = {file("staging"): SURGE, file("staging", "environment"): 'ray_version: "2.60"\n'}
    commit = origin.commit(pinned)
    sources = site.follow({"configs": origin.url}, [environment("staging")])
    eventually(at(sources, "staging", commit), within=10.0)
    assert not sources.runs("staging", "2.40.0")
    eventually(lambda: sources.runs("staging", "2.40.0"), within=10.0)
    assert isinstance(sources.wanted("staging"), Desired)
    commit = origin.commit({file("staging", "environment"): 'ray_version: "1.13"\n'})
    sources.look_now("configs")
    wanted = eventually(at(sources, "staging", commit), within=10.0)
    assert isinstance(wanted, Invalid)
    assert any("older than 2.9.3" in problem.message for problem in wanted.problems)
