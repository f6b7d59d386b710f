"""Which release is promoted from one environment to the next, or why none is.

Owns the choice, what may be skipped for a hotfix, and the sentences. Must not know git, or who asks.
Invariant: what is chosen without `soak` skipped has become good in the source, or brings there what is good,
and is held neither there nor in the target; a newer release that is being tried in the source changes
nothing: a busy source would starve the next environment. Without being asked nothing is promoted that the
source's branch takes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core import commands, gates, sentences
from deployer.core.commands import USAGE, Declined, GoodRelease
from deployer.core.gates import GateState, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from deployer.core.events import Seen
    from deployer.core.record import Hold, Record
    from deployer.core.types import Revision

SOAK = "soak"
"""The skip that lets a release be promoted that is not good in the source: a hotfix."""

SKIPPABLE = (SOAK, *gates.SKIPPABLE)
"""What a promotion may skip, each time with a reason."""

_LISTED = 5
"""Releases, or commits, that a sentence lists."""


def misuse(
    source: str, target: str, *, name: str | None, skip: Collection[str], reason: str
) -> Declined | None:
    """Why a promotion makes no sense as it was typed; None if it does."""
    unknown = sorted(set(skip) - set(SKIPPABLE))
    command = f"deployer promote {source} {target}"
    if unknown:
        why = f"There is nothing called '{unknown[0]}' to skip. There are: {', '.join(SKIPPABLE)}."
    elif SOAK in skip and name is None:
        why = f"A hotfix names what it is: `{command} --release COMMIT --skip soak --reason ...`."
    elif skip and not reason:
        again = f'`{command} --skip {",".join(sorted(skip))} --reason "..."`'
        why = f"A reason is needed, for those who read the log later: {again}."
    else:
        return None
    return Declined(why=why, exit_code=USAGE)


def candidate(
    source: Record,
    releases: Sequence[GoodRelease],
    target: Record,
    *,
    name: str | None = None,
    skip: Collection[str] = (),
    is_copied: bool = False,
) -> GoodRelease | Declined:
    """What is promoted from the source to the target: what `name` means, else the newest good release.

    `releases` are the source's good ones, newest first. `name` is a rollout, its number, the beginning of a
    commit, or a digest. With `soak` in `skip` it may also be one that is being tried in the source, once it
    is healthy, or that is held there; the `rollout` of what is returned is then the one that tried it. A
    commit that changes nothing in the source, so that no rollout was for it, goes as what is good there: its
    `rollout` is the one that made that good, and by its name that one's own commit is meant. Not where what
    the commit says is copied (`is_copied`): it says what is promoted already.
    """
    unchanged = _unchanged(source) if not is_copied else []
    # By a rollout the first is found, so the one that is its own comes first there.
    known = [*releases, *unchanged]
    if name is None:
        found = _newest(source, [*unchanged, *releases], target.environment)
    elif SOAK in skip:
        found = _hotfix(source, known, name)
    else:
        found = _named(source, known, target.environment, name)
    if isinstance(found, Declined):
        return found
    # By its commit: the config, and so the digest, may be another one there.
    commit = found.release.revision.commit
    commits = {commit, *(made for one in target.promoted if one.commit == commit for made in one.commits)}
    hold = next((one for one in target.held if one.release.revision.commit in commits), None)
    if hold is not None and not hold.may_retry:
        what = _held(hold, target.environment)
        retry = f"`deployer retry {target.environment} --reason ...` tries it once more"
        return Declined(why=f"{what}: {retry} while its branch is there, or promote a newer one.")
    return found


def not_by_itself(
    source: Record, releases: Sequence[GoodRelease], target: str, chosen: GoodRelease
) -> str | None:
    """Why the candidate is not promoted without being asked, as a sentence; None if it may be.

    The source's branch takes it back: it was rewritten, or wants what was good before it. What it does not
    have any more, only git can tell: see `dropped`.
    """
    where, seen, refused = source.environment, source.seen, source.refused
    if refused is not None and refused.is_rewrite:
        return _waits(where, target, chosen, f"the branch of {where} was rewritten since")
    if seen is None or seen.digest == chosen.release.digest:
        return None
    if any(one.release.digest == seen.digest and one.at < chosen.at for one in releases):
        back = f"{where} goes back with {sentences.name(seen)} to what was good there before"
        return _waits(where, target, chosen, back)
    return None


def proof(source: Record, chosen: GoodRelease, skipped: Collection[str] = ()) -> GateState:
    """How the release stands in the source by now, as a gate of a promotion that is open: held, or good.

    `skipped` is what this promotion skips. Without a hold it stays what it was when it was chosen.
    """
    where = source.environment
    hold = source.hold_of(chosen.release.digest)
    if SOAK in skipped:
        evidence = f"Whether it is good in {where} is skipped: a hotfix."
        return GateState(name=SOAK, verdict=Verdict.SKIPPED, evidence=evidence)
    if hold is not None:
        return GateState(name=SOAK, verdict=Verdict.CLOSED, evidence=f"{_held(hold, where)}.")
    evidence = f"{chosen.rollout} made it good in {where} at {sentences.clock(chosen.at)}."
    return GateState(name=SOAK, verdict=Verdict.OPEN, evidence=evidence)


def changes(seen: Sequence[Seen], commit: str, since: str | None) -> list[Seen]:
    """What changed the source's config after one commit, up to another one; each newest first.

    `seen` is what git wanted there. With `since` None, or where that is not among them, all of it counts.
    """
    upto = next((index for index, one in enumerate(seen) if one.release.revision.commit == commit), 0)
    found = []
    for index, one in enumerate(seen[upto:], upto):
        if one.release.revision.commit == since:
            break
        older = seen[index + 1] if index + 1 < len(seen) else None
        if older is None or older.release.digest != one.release.digest:
            found.append(one)
    return found


def no_proof(why: str) -> GateState:
    """That what is proposed has no proof, and why."""
    return GateState(name=SOAK, verdict=Verdict.CLOSED, evidence=sentences.sentence(why))


def foreign_head(branch: str, chosen: GoodRelease, head: str) -> str:
    """Somebody else pushed to the branch of pull requests."""
    return f"{head[:7]}, which somebody pushed to {branch}, is not what {chosen.rollout} proved"


def replaced(target: str, number: int, by: str) -> str:
    """The pull request is not wanted any more."""
    return f"{by} is promoted to {target} instead, so deployer closes pull request #{number}."


def skipped_too_late(target: str, chosen: GoodRelease, skip: Collection[str]) -> str:
    """The branch has the commit, and the gates that were to be skipped are asked now."""
    listed = ",".join(sorted(skip))
    return (
        f"{sentences.name(chosen.release)} is on the branch of {target} already, so no gate is skipped by"
        f' promoting it: `deployer sync {target} --skip {listed} --reason "..."` does that.'
    )


def dropped(source: str, target: str, chosen: GoodRelease) -> str:
    """It is not promoted without being asked: the source's branch does not have it any more."""
    return _waits(source, target, chosen, f"the branch of {source} does not have it any more")


def unsettled(target: str, commit: str, seconds: int) -> str:
    """Another promotion was cut off a moment ago, and the server may still be at its push."""
    return (
        f"The promotion of {commit[:7]} to {target} was cut off, and the server may still be at it: what"
        f" became of it is known in {seconds} s. Try again then."
    )


def is_promoted(target: Record, chosen: GoodRelease) -> bool:
    """Whether the target has seen the very commit already, as the newest of its branch."""
    return target.seen is not None and target.seen.revision.commit == chosen.release.revision.commit


def nothing_to_do(target: str, branch: str, chosen: GoodRelease) -> str:
    """The branch has the commit."""
    return f"Branch {branch} of {target} has {sentences.name(chosen.release)} already: nothing to do."


def pushed(target: str, branch: str, chosen: GoodRelease, before: str | None) -> str:
    """It was promoted."""
    was = f"was at {before[:7]}" if before is not None else "is new"
    what = f"{sentences.name(chosen.release)}, {chosen.rollout}, is promoted"
    return f"{what}: branch {branch} of {target}, which {was}, is there now. See `deployer status {target}`."


def planned(target: str, branch: str, chosen: GoodRelease, commits: int, *, is_more: bool) -> str:
    """What a promotion would do: a branch that is new gets its whole history."""
    count = f"more than {commits} commits" if is_more else f"{commits} commit{'' if commits == 1 else 's'}"
    what = f"{sentences.name(chosen.release)}, {chosen.rollout}, would be promoted"
    return f"{what}: {count} would be pushed to branch {branch} of {target}."


def by_hand(repository: str, typed: Sequence[str]) -> str:
    """The daemon has no credential for pushing: what to type instead."""
    lines = "\n".join(f"  {one}" for one in typed)
    what = (
        f"deployer has no credential for pushing to {repository}: set its `write`, or type, in a clone of it"
    )
    return f"{what}:\n{lines}"


def edit_by_hand(repository: str, file: str, changes: Sequence[str]) -> str:
    """The same for a copy that cannot be printed, because it would show a secret."""
    lines = "\n".join(f"  {one}" for one in changes)
    what = f"deployer has no credential for pushing to {repository}: set its `write`, or edit {file} by hand"
    return f"{what} (a patch would show what is secret):\n{lines}"


def by_pull_request(
    target: str, chosen: GoodRelease, *, skip: Collection[str], has_forge: bool
) -> Declined | None:
    """Why a pull request cannot be made for it; None if it can."""
    name = chosen.release.revision.commit[:7]
    if not has_forge:
        why = "There is no forge to open a pull request at: write `forge` at the repository in the settings."
    elif gone := sorted(set(skip) - {SOAK}):
        why = (
            f"--skip {','.join(gone)} is for one commit, and the one that a pull request will be merged as is"
            f" not known yet. Promote {name} without it, and when it is merged:"
            f' `deployer sync {target} --skip {",".join(gone)} --reason "..."`.'
        )
    else:
        return None
    return Declined(why=why, exit_code=USAGE)


def copied(target: str, branch: str, chosen: GoodRelease, commit: str, changes: int) -> str:
    """What it says was copied to the folder of the next environment."""
    what = f"{sentences.name(chosen.release)}, {chosen.rollout}, is promoted"
    count = f"{changes} change{'' if changes == 1 else 's'}"
    where = f"for {target} on branch {branch}, by {commit[:7]}"
    return f"{what}: {count} {where}. See `deployer status {target}`."


def copying(target: str, branch: str, file: str, chosen: GoodRelease, changes: Sequence[str]) -> str:
    """What a copy would change."""
    what = f"{sentences.name(chosen.release)}, {chosen.rollout}, would be promoted"
    lines = "".join(f"\n  {one}" for one in changes)
    return f"{what}: it would change {file} on branch {branch}, for {target}:{lines}"


def nothing_to_copy(target: str, branch: str, file: str, chosen: GoodRelease) -> str:
    """The folder of the target says it already."""
    name = sentences.name(chosen.release)
    return f"{file} of {target}, on branch {branch}, says what {name} says already: nothing to do."


def cannot_copy(target: str, chosen: GoodRelease, why: str) -> str:
    """It cannot be copied into the target's file by a program."""
    name = sentences.name(chosen.release)
    return f"{name} cannot be copied to {target}: {sentences.sentence(why)}"


def proposed(target: str, chosen: GoodRelease, number: int, url: str, *, is_new: bool) -> str:
    """A pull request is open for it."""
    what = f"{sentences.name(chosen.release)}, {chosen.rollout}, is proposed for {target}"
    how = "is open" if is_new else "was open, and has it now"
    return f"{what}: pull request #{number} {how}. Merge it at {url}"


def proposed_already(target: str, chosen: GoodRelease, number: int, url: str) -> str:
    """The pull request that is open has it."""
    what = f"{sentences.name(chosen.release)} is proposed for {target}"
    return f"{what} already: pull request #{number} has it, and nothing was changed. Merge it at {url}"


def superseded(target: str, branch: str) -> str:
    """What is written to a pull request that has nothing to bring any more."""
    return f"Branch {branch} of {target} has all of this by now, so deployer closes this pull request."


def in_the_way(
    edge: tuple[str, str],
    branch: str,
    chosen: GoodRelease,
    commits: Sequence[Revision],
    *,
    is_more: bool,
    has_forge: bool = False,
) -> str:
    """The branch is not behind the commit: which of its commits are in the way, and what to do.

    `edge` is the source and the target.
    """
    source, target = edge
    listed = [f'{one.short} "{one.subject}" by {one.author.name}' for one in commits[:_LISTED]]
    more = ", and more" if is_more or len(commits) > _LISTED else ""
    others = f"{', '.join(listed)}{more}"
    return (
        f"{sentences.name(chosen.release)} cannot be promoted to {target}: branch {branch} is not behind it,"
        f" it has what that commit does not have: {others}. Merge {branch} into the branch that you promote"
        f" from, and let that become good there; or {_by_merge(source, target, chosen, has_forge=has_forge)};"
        " or, if those commits are not wanted, put the branch back by hand."
    )


def _by_merge(source: str, target: str, chosen: GoodRelease, *, has_forge: bool) -> str:
    """How the commit gets there all the same, as a merge."""
    if not has_forge:
        return f"open a pull request with {chosen.release.revision.commit[:7]} to it, and merge that"
    command = f"deployer promote {source} {target} --pull-request"
    return f"`{command}` opens a pull request, whose merge brings it there"


def _waits(where: str, target: str, chosen: GoodRelease, why: str) -> str:
    name = chosen.release.revision.commit[:7]
    return (
        f"{sentences.name(chosen.release)} is not promoted to {target} by itself: {why}."
        f" `deployer promote {where} {target} --release {name}` promotes it all the same."
    )


def _unchanged(source: Record) -> list[GoodRelease]:
    """What git wants in the source, if it is what is good there by another commit: no rollout was for that.

    The commit may change the next environment's folder alone.
    """
    seen, good, rollout, at = source.seen, source.good, source.good_rollout, source.good_at
    if seen is None or good is None or rollout is None or at is None or seen.digest != good.digest:
        return []
    is_the_same = seen.revision.commit == good.revision.commit
    if is_the_same or source.refused is not None or source.rollout is not None or source.asked is not None:
        return []
    same = GoodRelease(
        rollout=rollout, release=seen, at=at, policy=source.good_policy, nonce=source.good_nonce
    )
    return [same]


def _newest(source: Record, releases: Sequence[GoodRelease], target: str) -> GoodRelease | Declined:
    for one in releases:
        if source.hold_of(one.release.digest) is None:
            return one
    where, rollout = source.environment, source.rollout
    trying = f"{rollout.id} is trying {sentences.name(rollout.release)}. " if rollout is not None else ""
    if not releases:
        why = f"Nothing became good in {where} yet, so there is nothing to promote to {target}."
        return Declined(why=f"{why} {trying}See `deployer status {where}`.")
    why = f"All that was good in {where} is held there, so there is nothing to promote to {target}."
    return Declined(why=f"{why} {trying}Push a fix to {where}.")


def _named(source: Record, releases: Sequence[GoodRelease], target: str, name: str) -> GoodRelease | Declined:
    where = source.environment
    hotfix = f"`deployer promote {where} {target} --release {name} --skip soak --reason ...`"
    found = commands.find_good(where, name, releases)
    if found is not None:
        hold = source.hold_of(found.release.digest)
        if hold is None:
            return found
        return Declined(why=f"{_held(hold, where)}: push a fix, or, if it must be, {hotfix}.")
    tried = _tried(source, name)
    if tried is not None and source.rollout is not None:
        what = f"{sentences.name(tried.release)} is not good in {where} yet: {source.rollout.id} is trying it"
        return Declined(why=f"{what}. Wait until it is good, or, if it must be, {hotfix}.")
    hold = _hold(source, name)
    if hold is not None:
        return Declined(why=f"{_held(hold, where)}: push a fix, or, if it must be, {hotfix}.")
    return _unknown(where, releases, name)


def _hotfix(source: Record, releases: Sequence[GoodRelease], name: str) -> GoodRelease | Declined:
    """What a person wants promoted although it did not prove itself, or failed: it was at least tried."""
    where = source.environment
    found = commands.find_good(where, name, releases)
    if found is not None:
        return found
    tried, rollout = _tried(source, name), source.rollout
    if tried is not None and rollout is not None:
        if rollout.healthy_at is not None:
            return tried
        what = f"{sentences.name(tried.release)} is not healthy in {where} yet"
        return Declined(why=f"{what}: see `deployer status {where}`, and promote it when {rollout.id} is.")
    hold = _hold(source, name)
    if hold is not None:
        return GoodRelease(rollout=hold.rollout, release=hold.release, at=hold.since)
    return _unknown(where, releases, name)


def _tried(source: Record, name: str) -> GoodRelease | None:
    """The rollout in flight, if that is what the name means; `at` is when it was healthy, or began."""
    rollout = source.rollout
    if rollout is None:
        return None
    tried = GoodRelease(
        rollout=rollout.id,
        release=rollout.release,
        at=rollout.healthy_at or rollout.started_at,
        policy=rollout.policy,
        nonce=rollout.nonce,
    )
    return commands.find_good(source.environment, name, [tried])


def _hold(source: Record, name: str) -> Hold | None:
    """The hold of what the name means, if that is clear."""
    held = [GoodRelease(rollout=one.rollout, release=one.release, at=one.since) for one in source.held]
    found = commands.find_good(source.environment, name, held)
    return source.hold_of(found.release.digest) if found is not None else None


def _unknown(where: str, releases: Sequence[GoodRelease], name: str) -> Declined:
    listed = ", ".join(f"{one.rollout} ({sentences.name(one.release)})" for one in releases[:_LISTED])
    good = f"The newest good ones are {listed}." if releases else "Nothing became good there yet."
    why = f"'{name}' is no release of {where}, or could be more than one. {good}"
    return Declined(
        why=f"{why} Name a rollout, or more of the commit: see `deployer history {where}`.", exit_code=USAGE
    )


def _held(hold: Hold, where: str) -> str:
    return f"{sentences.name(hold.release)} is held in {where} ({hold.reason})"
