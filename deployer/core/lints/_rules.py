"""The lints by their code: what each is about, why, and an example of it.

Owns the texts that `docs/lints.md` and the reports for machines show. Must not know how a lint is found.
Invariant: each bad example has this very warning and no other, each good one has none.

The figures were measured on Ray 2.60 with instant constructors, on a small machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One lint. `title` and `reason` are sentences; the examples are whole `serve_config.yaml` files."""

    code: str
    title: str
    reason: str
    example_bad: str
    example_good: str


def _app(*lines: str) -> str:
    """A file with one application that nothing is wrong with, and these lines in it."""
    head = ("http_options: {request_timeout_s: 60}", "applications:", "- name: fruit")
    return "\n".join((*head, "  import_path: market:fruit", *(f"  {line}" for line in lines), ""))


def _deployment(*lines: str) -> str:
    return _app("deployments:", "- name: Mango", *(f"  {line}" for line in lines))


_RULES = (
    Rule(
        code="mutable-code-uri",
        title="The address of the code can name other code tomorrow.",
        reason=(
            "A branch archive, `HEAD.zip`, or an object key without a commit, a version or a digest in "
            "it. Ray fetches such an address anew on every node that does not have it yet. So one config "
            "can run two versions of the code side by side, and after a rollback of the config the new "
            "code still runs."
        ),
        example_bad=_app("runtime_env: {working_dir: https://git.example.com/fruit/archive/main.zip}"),
        example_good=_app("runtime_env: {working_dir: https://git.example.com/fruit/archive/4f1c2d3.zip}"),
    ),
    Rule(
        code="runtime-env-in-protected",
        title="Code is fetched at run time in a protected environment.",
        reason=(
            "`working_dir`, `py_modules`, `pip`, `uv` and `conda` are fetched and installed on each node "
            "that a replica starts on: also at night, when a node was lost and the package index does not "
            "answer. A package that cannot be installed was found out 43 s into a rollout. An image is "
            "built and tested once. Use one that holds the code for the nodes of the cluster, or name it "
            "as `image_uri`. Only for protected environments."
        ),
        example_bad=_app("runtime_env: {pip: [numpy==2.3.0]}"),
        example_good=_app("runtime_env: {image_uri: registry.example.com/fruit:4f1c2d3}"),
    ),
    Rule(
        code="one-replica-without-surge",
        title="An update leaves no replica that serves.",
        reason=(
            "Serve stops old replicas before it starts new ones. Of one replica nothing is left: with a "
            "constructor of 8 s requests waited for up to 9.3 s, and when the new version could not "
            "start, they failed until the old one was back. With `max_surge_percent: 100` (Ray 2.60 and "
            "newer) none of 368 was lost; with two replicas none either. Older versions of Ray do not "
            "know that option: have two. A deployment that is listed without `num_replicas` has what the "
            "code says, or one; autoscaling goes down to `min_replicas`, or one."
        ),
        example_bad=_deployment("num_replicas: 1", "health_check_period_s: 5"),
        example_good=_deployment("num_replicas: 1", "max_surge_percent: 100", "health_check_period_s: 5"),
    ),
    Rule(
        code="no-health-check-period",
        title="Nobody has chosen how soon a sick replica is found.",
        reason=(
            "Serve asks each replica every 10 s, and replaces it after three failures in a row. So one "
            "that answers nothing but errors serves for 20 to 30 s more, and one that hangs for some 100 "
            "s, since each check may take 30 s (`health_check_timeout_s`). The stability window of a "
            "rollout is three periods, too, if `environment.yaml` says nothing else. If that is what you "
            "want, write `health_check_period_s: 10`."
        ),
        example_bad=_deployment("num_replicas: 2"),
        example_good=_deployment("num_replicas: 2", "health_check_period_s: 5"),
    ),
    Rule(
        code="no-request-timeout",
        title="A request may wait without end.",
        reason=(
            "Serve has no timeout of its own. A request to a replica that hangs, or to a deployment with "
            "none that is up, waits for as long as its client does. A running Serve keeps the timeout "
            "that it started with: set it before the first deployment, or restart Serve."
        ),
        example_bad="applications:\n- name: fruit\n  import_path: market:fruit\n",
        example_good=_app(),
    ),
    Rule(
        code="num-replicas-with-autoscaling",
        title="`num_replicas: auto` stands beside an `autoscaling_config`.",
        reason=(
            "Serve takes `auto` as a set of defaults, and every value of `autoscaling_config` before "
            "them. The only default in which the two differ is `max_replicas`: 100 with `auto`, 1 "
            "without. So `auto` changes nothing, or it sets a limit of 100 replicas that stands nowhere. "
            "A number of replicas beside an `autoscaling_config` is an error: Serve refuses it."
        ),
        example_bad=_deployment(
            "num_replicas: auto",
            "autoscaling_config: {min_replicas: 2, max_replicas: 6}",
            "health_check_period_s: 5",
        ),
        example_good=_deployment(
            "autoscaling_config: {min_replicas: 2, max_replicas: 6}", "health_check_period_s: 5"
        ),
    ),
    Rule(
        code="autoscaling-without-max",
        title="The deployment can never have more than one replica.",
        reason=(
            "`max_replicas` is 1 where `autoscaling_config` does not set it, so it scales nothing, "
            "however many requests wait. What the code of the application sets in its own "
            "`autoscaling_config` does not count: that of the file replaces it as a whole."
        ),
        example_bad=_deployment(
            "autoscaling_config: {target_ongoing_requests: 5}",
            "max_surge_percent: 100",
            "health_check_period_s: 5",
        ),
        example_good=_deployment(
            "autoscaling_config: {target_ongoing_requests: 5, min_replicas: 2, max_replicas: 6}",
            "health_check_period_s: 5",
        ),
    ),
    Rule(
        code="ignored-by-running-serve",
        title="These options have an effect only when Serve starts.",
        reason=(
            "Serve answers 200 to a change of `http_options`, `grpc_options`, `proxy_location` or "
            "`controller_options`, and goes on with what it has. Of `tracing_config`, replicas that run "
            "already take no note. What stands here is used the next time that Serve starts, after the "
            "head was replaced, say; until then `deployer status` says what is in effect. Silence it once "
            "you know. `http_options` that hold nothing but `request_timeout_s` are not warned about, "
            "because [no-request-timeout](#no-request-timeout) asks for them."
        ),
        example_bad="proxy_location: HeadOnly\n" + _app(),
        example_good=_app(),
    ),
    Rule(
        code="target-capacity-set",
        title="The whole cluster runs with a share of its replicas.",
        reason=(
            "`target_capacity` scales every deployment on the cluster, also those of other environments: "
            "at 50, two replicas became one. It is made for filling and emptying a cluster step by step, "
            "and holds until a config without it is deployed. A `target_capacity` of 0 is an error: Serve "
            "says RUNNING with no replica at all, and every request hangs."
        ),
        example_bad="target_capacity: 50\n" + _app(),
        example_good=_app(),
    ),
    Rule(
        code="yaml-surprise",
        title="YAML 1.1 reads this as something else than it looks.",
        reason=(
            "`serve deploy` and this daemon read YAML 1.1: `NO` and `off` are false, `1:30` is 90, `017` "
            "is 15, `1_000` is 1000, `~` is null, and `3.10` is 3.1 (said only where the key is a "
            "version, a tag or the like). In `args`, `user_config` and other values that Serve hands to "
            "the application as they are, `.5` and `+49` are numbers too, and `1e-4` is text, because "
            "YAML 1.1 wants it written `1.0e-4`. Write what is meant, or put quotes around text. `true`, "
            "`null`, `3` and `0.5` are what they look like."
        ),
        example_bad=_app("args: {country: NO}"),
        example_good=_app('args: {country: "NO"}'),
    ),
    Rule(
        code="unused-allow",
        title="A comment silences a lint that has nothing to say.",
        reason=(
            "Its reason is gone, or the comment stands at another line than the warning. Left there, it "
            "would silence the next one, which nobody has thought about. It cannot be silenced: remove "
            "the code from the comment. A comment about "
            "[runtime-env-in-protected](#runtime-env-in-protected) may stand in an environment that is "
            "not protected, so that a file can be promoted as it is."
        ),
        example_bad=_app("args: {price: 3}  # deployer: allow yaml-surprise"),
        example_good=_app("args: {price: 017}  # deployer: allow yaml-surprise base 8 is meant"),
    ),
    Rule(
        code="unknown-lint",
        title="A comment names a lint that does not exist.",
        reason=(
            "So it silences nothing. Several codes are separated by commas, and the reason follows after "
            "a space. It cannot be silenced: correct the comment."
        ),
        example_bad=_app("args: {price: 3}  # deployer: allow yaml-suprise"),
        example_good=_app("args: {price: 017}  # deployer: allow yaml-surprise base 8 is meant"),
    ),
)

RULES: Mapping[str, Rule] = {rule.code: rule for rule in _RULES}
"""Every lint by its code, in the order of the docs."""

PROTECTED_ONLY = frozenset({"runtime-env-in-protected"})
"""What is looked for only in protected environments."""
