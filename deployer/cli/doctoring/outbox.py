"""Whether what is to be told is delivered: who takes nothing, and what was given up.

Owns what counts as trouble there. Must not deliver anything, nor read a message. Invariant: it changes
nothing, and works beside a daemon that runs.
"""

from __future__ import annotations

from contextlib import closing as closing_it
from functools import partial
from typing import TYPE_CHECKING

from deployer.cli.context import STORE_FILE
from deployer.cli.doctoring.finding import Check, ok, skip, warn
from deployer.cli.doctoring.site import LOCAL_SECONDS, closed, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.adapters.store import OutboxStore
    from deployer.cli.doctoring.finding import Finding
    from deployer.cli.doctoring.site import Site

_MEND = "Mend that; it is tried again by itself."


def store_checks(site: Site) -> Iterator[Check]:
    """The messages that wait."""
    yield Check(group="store", subject="messages", limit=LOCAL_SECONDS, ask=partial(_messages, site))


def _messages(site: Site) -> Iterator[Finding]:
    from deployer.adapters.store import OutboxStore, SqlReader, StoreError
    from deployer.cli.targets import audiences

    file = site.settings.state_dir / STORE_FILE
    if site.is_closed:
        yield skip(closed(site))
        return
    if not file.exists():
        yield skip("there is no store yet")
        return
    try:
        with closing_it(SqlReader.open_readonly(file)) as store:
            found = list(_of_targets(OutboxStore(store.database), audiences(site.settings)))
    except StoreError:
        yield skip("the store cannot be read: see above")
        return
    yield from found


def _of_targets(outbox: OutboxStore, audiences: dict[str, str]) -> Iterator[Finding]:
    states = {one.name: one for one in outbox.targets()}
    letters = outbox.letters()
    is_well = True
    for target, audience in audiences.items():
        state, waiting = states.get(target), outbox.waiting(target, audience)
        if state is not None and state.attempts:
            is_well = False
            why, step = split(state.why, _MEND)
            yield warn(f"{target} takes nothing, and {_counted(waiting.count)} for it: {why}", step)
    dead: dict[str, list[str]] = {}
    for letter in letters:
        dead.setdefault(letter.target, []).append(letter.why)
    for target, reasons in dead.items():
        is_well = False
        count = len(reasons)
        says = f"{count} dead letter{'' if count == 1 else 's'} for {target}: {reasons[0]}"
        step = "Mend that, then type `deployer outbox retry all`; `deployer outbox list` shows each."
        yield warn(says, step)
    if is_well:
        yield ok(f"all is delivered, or on its way, to {', '.join(audiences)}")


def _counted(count: int) -> str:
    return f"{count} message{' waits' if count == 1 else 's wait'}"
