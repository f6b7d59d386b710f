"""What is wrong between environments that promote to, or require, one another; with approvals, and forges.

Owns those rules. Must not know files, lines or variables. Invariant: as in `_conflicts`; and no environment
of settings that load waits, directly or by way of others, for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.core.redact import quote
from deployer.settings import _addresses as addresses
from deployer.settings import _people as people
from deployer.settings import _values as values
from deployer.settings._written import dotted, mapping, normal, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deployer.core.redact import Path as Keys

_WAYS = (
    "a promotion moves the branch of one environment to a commit of another one's branch, or copies from"
    " folder to folder of one branch, in one repository"
)
_PROPOSALS = "deployer/"
"""Below this are the branches of pull requests, the only ones that are ever replaced."""

_FIELDS = ("move", "keep")
"""What is said of a copy alone."""


def conflicts(raw: object, base: values.Base) -> Iterator[tuple[Keys, str]]:
    """Where something is wrong, and a sentence."""
    environments = mapping(raw, "environments")
    for name in environments:
        keys = ("environments", name)
        environment = mapping(environments, name)
        source, place = _source(environment)
        if source is not None and source not in environments:
            yield (*keys, *place), unknown((*keys, *place), "environment", source, environments)
        elif source is not None and source != name:
            yield from _ways(raw, name, source, (*keys, *place), base)
            yield from _auto(raw, name)
        for required in _required(environment):
            if required not in environments:
                place_of_it = (*keys, "gates", "requires", required)
                yield place_of_it, unknown(place_of_it[:-1], "environment", required, environments)
        yield from _approvers(raw, name)
        yield from _asks_forge(raw, name)
    yield from _proposals(raw, base)
    yield from _shared_logins(mapping(raw, "people"))
    yield from _circles(environments)


def _source(environment: Mapping[str, Any]) -> tuple[str | None, Keys]:
    """The environment that is promoted from, and the keys where its name stands."""
    written = environment.get("promote_from")
    if isinstance(written, str):
        return written or None, ("promote_from",)
    name = mapping(environment, "promote_from").get("environment")
    return (name if isinstance(name, str) else None) or None, ("promote_from", "environment")


def _required(environment: Mapping[str, Any]) -> list[str]:
    return [str(name) for name in mapping(mapping(environment, "gates"), "requires")]


def _ways(raw: object, name: str, source: str, keys: Keys, base: values.Base) -> Iterator[tuple[Keys, str]]:
    """Whether there is a way from the one to the other: a fast-forward, or a copy."""
    environments = mapping(raw, "environments")
    here, there = mapping(environments, name), mapping(environments, source)
    repositories = here.get("repository"), there.get("repository")
    if all(isinstance(one, str) for one in repositories) and len(set(repositories)) > 1:
        ours, theirs = (quote(str(one)) for one in repositories)
        yield (
            keys,
            f"{dotted(keys)}: {name} is in the repository {ours}, {source} in {theirs}: {_WAYS}",
        )
        return
    for one, environment in ((name, here), (source, there)):
        followed = next((key for key in ("tags", "commit") if environment.get(key) is not None), None)
        if followed is not None:
            yield keys, f"{dotted(keys)}: {one} follows {followed}, and no branch: {_WAYS}"
    branches = [normal(values.branch, one.get("branch"), base) for one in (here, there)]
    folders = [normal(values.folder, one.get("path"), base) for one in (here, there)]
    if None in branches:
        return
    if branches[0] == branches[1] and None not in folders and folders[0] == folders[1]:
        why = "read the same folder of the same branch, so there is nothing to promote"
        yield keys, f"{dotted(keys)}: {name} and {source} {why}: give each a branch, or a folder, of its own"
    for key in _FIELDS:
        promote = mapping(here, "promote_from")
        if branches[0] != branches[1] and promote.get(key) is not None:
            place = ("environments", name, "promote_from", key)
            why = f"{name} and {source} follow branches of their own, so the very commit is promoted"
            yield place, f"{dotted(place)} is for copies from folder to folder alone, and {why}: remove this"


def proposals(source: str, target: str) -> str:
    """The branch of the pull requests of this way: `deployer.engine.ways.Edge.proposals`."""
    return f"{_PROPOSALS}{source}-to-{target}"


def _proposals(raw: object, base: values.Base) -> Iterator[tuple[Keys, str]]:
    """Branches of pull requests that somebody follows, and that are of two ways."""
    environments = mapping(raw, "environments")
    opened: set[str] = set()
    owners: dict[tuple[str, str], str] = {}
    for name in environments:
        environment = mapping(environments, name)
        source, place = _source(environment)
        if source is None or source == name or not _opens(raw, environment):
            continue
        where, branch, way = _where(raw, environment, base), proposals(source, name), f"{source} to {name}"
        opened.add(where)
        other = owners.setdefault((where, branch), way)
        if other != way:
            keys = ("environments", name, *place)
            would = (
                f"its pull requests would be from the branch {quote(branch)}, and so would those from {other}"
            )
            yield keys, f"{dotted(keys)}: {would}: rename one of these environments"
    for name in environments:
        environment = mapping(environments, name)
        followed = normal(values.branch, environment.get("branch"), base)
        is_opened = _where(raw, environment, base) in opened
        if is_opened and followed is not None and followed.startswith(_PROPOSALS):
            keys = ("environments", name, "branch")
            why = "where deployer keeps the branches of its pull requests, and replaces them"
            message = f"{quote(followed)} is below {_PROPOSALS}, {why}: follow a branch of another name"
            yield keys, f"{dotted(keys)}: {message}"


def _opens(raw: object, environment: Mapping[str, Any]) -> bool:
    """Whether a promotion to it may be by a pull request: where there is a forge, one can be asked for."""
    repository = mapping(mapping(raw, "repositories"), str(environment.get("repository")))
    by = mapping(environment, "promote_from").get("by")
    return repository.get("forge") is not None or by == "pull-request"


def _where(raw: object, environment: Mapping[str, Any], base: values.Base) -> str:
    """The repository: two names of one URL are one."""
    name = str(environment.get("repository"))
    url = mapping(mapping(raw, "repositories"), name).get("url")
    return normal(values.repository_url, url, base) or name


def _auto(raw: object, name: str) -> Iterator[tuple[Keys, str]]:
    """Whether what is promoted by itself can be pushed."""
    environment = mapping(mapping(raw, "environments"), name)
    repository = str(environment.get("repository"))
    is_auto = _flag(mapping(environment, "promote_from").get("auto", False))
    written = mapping(mapping(raw, "repositories"), repository)
    if is_auto and written and written.get("write") is None:
        keys = ("environments", name, "promote_from", "auto")
        where = dotted(("repositories", repository, "write"))
        yield keys, f"{dotted(keys)} needs {where}: how the daemon is let in to push (see docs/gates.md)"


def _asks_forge(raw: object, name: str) -> Iterator[tuple[Keys, str]]:
    """Whether the forge can be asked, where that is needed."""
    environment = mapping(mapping(raw, "environments"), name)
    repository = str(environment.get("repository"))
    written = mapping(mapping(raw, "repositories"), repository)
    if not written or written.get("forge") is not None:
        return
    needed: dict[Keys, bool] = {
        ("promote_from", "by"): mapping(environment, "promote_from").get("by") == "pull-request",
        ("gates", "checks"): mapping(environment, "gates").get("checks") is not None,
        ("gates", "approvals", "reviews"): _reviews(environment),
    }
    for place, is_needed in needed.items():
        if is_needed:
            keys = ("environments", name, *place)
            where = dotted(("repositories", repository, "forge"))
            yield keys, f"{dotted(keys)} needs {where}: how the forge is asked (see docs/gates.md)"


def _reviews(environment: Mapping[str, Any]) -> bool:
    """Whether reviews are approvals there."""
    return _flag(mapping(mapping(environment, "gates"), "approvals").get("reviews", False))


def _flag(written: object) -> bool:
    """Whether this says yes; not if it is no flag, which is reported elsewhere."""
    try:
        return addresses.flag(written)
    except ValueError:
        return False


def _approvers(raw: object, name: str) -> Iterator[tuple[Keys, str]]:
    """Whether there are as many people as have to approve; and one who can review, where that counts."""
    environment = mapping(mapping(raw, "environments"), name)
    approvals = mapping(mapping(environment, "gates"), "approvals")
    keys = ("environments", name, "gates", "approvals")
    groups = {group: _listed(members) for group, members in mapping(raw, "groups").items()}
    approvers: set[str] = set()
    is_sound = True
    for index, one in enumerate(_listed(approvals.get("from"))):
        if people.is_group(one) and one[1:] not in groups:
            is_sound = False
            yield (*keys, "from", index), unknown((*keys, "from"), "group", one[1:], groups)
        else:
            approvers |= set(people.members(one, groups))
    required = approvals.get("required", 1)
    if is_sound and approvers and isinstance(required, int) and required > len(approvers):
        have = f"from names {len(approvers)} {'person' if len(approvers) == 1 else 'people'}"
        yield (
            (*keys, "required"),
            f"{dotted(keys)}.required is {required}, and {have}: name more, or ask fewer",
        )
    known = mapping(raw, "people")
    if is_sound and approvers and _reviews(environment):
        if any(mapping(known, one).get("forge") is not None for one in approvers):
            return
        example = f"`people: {{{min(approvers)}: {{forge: [LOGIN]}}}}`"
        why = "nobody whom from names has a login at the forge, so no review could count"
        yield (*keys, "reviews"), f"{dotted(keys)}.reviews: {why}: add one, as in {example}"


def _shared_logins(known: Mapping[str, Any]) -> Iterator[tuple[Keys, str]]:
    """The logins at the forge that two people have: a review would be by both."""
    owners: dict[str, str] = {}
    for person in known:
        keys = ("people", person, "forge")
        for index, one in enumerate(_listed(mapping(known, person).get("forge"))):
            other = owners.setdefault(one.casefold(), person)
            if other != person:
                message = f"{dotted(keys)}: {quote(one)} is {other}'s already: remove it from one of them"
                yield (*keys, index), message


def _listed(written: object) -> tuple[str, ...]:
    """The texts of a list; none if it is no such list, which is reported elsewhere."""
    try:
        return tuple(addresses.listed(written, ""))
    except ValueError:
        return ()


def _circles(environments: Mapping[str, Any]) -> Iterator[tuple[Keys, str]]:
    """Each way round by which environments wait for themselves, at the first of them."""
    waits: dict[str, dict[str, Keys]] = {}
    for name in environments:
        environment = mapping(environments, name)
        source, place = _source(environment)
        waits[name] = {other: ("gates", "requires", other) for other in _required(environment)}
        if source is not None:
            waits[name][source] = place
    for index, name in enumerate(environments):
        earlier = set(list(environments)[:index])
        circle = _circle(name, waits, earlier)
        if circle:
            keys = ("environments", name, *waits[name][circle[1]])
            shown = " -> ".join(circle)
            yield (
                keys,
                f"{dotted(keys)}: nothing would ever be deployed, because each waits for the next: {shown}",
            )


def _circle(begin: str, waits: Mapping[str, Mapping[str, Keys]], without: set[str]) -> list[str]:
    """The shortest way from this environment back to it, without some; empty if there is none."""
    before: dict[str, str] = {}
    ahead = [begin]
    for one in ahead:
        for other in waits.get(one, ()):
            if other == begin:
                way = [one]
                while way[-1] != begin:
                    way.append(before[way[-1]])
                return [*reversed(way), begin]
            if other not in before and other not in without:
                before[other] = one
                ahead.append(other)
    return []
