"""Files that are made to hurt: to take long, much memory, or another exception than InvalidConfig.

Owns the worst that could be thought of, one file for each way. Must not know how the reader defends itself.
Each is at most a few bytes over the 256 KiB that are read, and is run once, in a process with limits.
"""

from __future__ import annotations

from tests.fuzz.target import Input

SIZE = 256 * 1024
"""What the reader takes at most."""

NODES = 19_900
"""Keys and values: a few fewer than the reader takes, for what stands around them."""

_APP = "applications:\n- name: a\n  import_path: m:app\n"
_ALLOW = "# deployer: allow yaml-surprise\n"


def _fill(head: str, piece: str, tail: str = "", nodes: int = 0) -> str:
    """As many of the piece as fit between head and tail; with `nodes` in each, no more than are read."""
    room = SIZE - len((head + tail).encode())
    count = room // len(piece.encode())
    return head + piece * (min(count, NODES // nodes) if nodes else count) + tail


def _numbered(head: str, piece: str, count: int, tail: str = "") -> str:
    """So many of the piece, each with its number in place of `#`; fewer, if the file would be too large."""
    parts = [head]
    room = SIZE - len((head + tail).encode())
    for number in range(count):
        part = piece.replace("#", str(number))
        room -= len(part.encode())
        if room < 0:
            break
        parts.append(part)
    return "".join((*parts, tail))


_CONFIGS: dict[str, str | bytes] = {
    # What is no YAML, or hardly.
    "nothing": "",
    "only a byte order mark": "\ufeff",
    "a byte order mark inside": "applications: []\n\ufeffx: 1",
    "UTF-16": "applications: []".encode("utf-16"),
    "bytes that are no text": bytes(range(256)) * 1024,
    "NULs": b"\0" * SIZE,
    "a surrogate in UTF-8": b"applications: \xed\xa0\x80",
    "too many bytes": "x" * (SIZE + 1),
    "one word": "x" * SIZE,
    "line breaks of Windows": _fill("", "a: 1\r\n"),
    "line breaks of an old Macintosh": _fill("applications: []\r", "# x\r"),
    "line breaks of Unicode": _fill("a: '", "\u2028\u2029\x85", "'"),
    "tabs": _fill("", "\t"),
    "control characters": _fill("a: ", "\x1b[31m"),
    "escapes of control characters": _fill("a: [", '"\\0\\e\\x9b\\u2028",', "]", nodes=4),
    "escapes of half characters": _fill("a: [", '"\\ud83d",', "]", nodes=1),
    "an escape past Unicode": 'a: "\\UFFFFFFFF"',
    "directives": _fill("%YAML 1.1\n", "%TAG ! tag:x,2000:\n", "--- a"),
    "documents": _fill("", "---\na\n"),
    "document ends": _fill("a\n", "...\n"),
    "dashes": _fill("", "- "),
    "question marks": _fill("", "? "),
    "colons": _fill("", ": "),
    "brackets": "[" * 30_000,
    "braces": _fill("", "{a: "),
    "indentation": "".join(" " * depth + "a:\n" for depth in range(700)),
    "open quotes": _fill("a: ", "'"),
    "blank lines in a text": _fill("a: '", "\n"),
    "words": _fill("", "x ", ": ["),
    "words in a list": _fill("[", "x ", "]"),
    "half URLs": _fill("- ", "://a", ": ["),
    "words for a bad regex": _fill("", "a-", ": ["),
    "comments": _fill(_APP, "#\n"),
    "one long comment": _fill(_APP + "#", "# "),
    "block texts": _fill("", "- |\n a\n", nodes=1),
    "a folded text": _fill("a: >\n", " x\n\n"),
    "a block with blank lines": _fill("a: |\n x\n", "\n"),
    # Numbers and other scalars.
    "digits": _fill("a: ", "1"),
    "digits in base 60": _fill("a: 1", ":1"),
    "numbers in base 60": _fill("a: [", "1:1:1:1:1:1:1:1:1:1:1:1:1:1:1,", "]", nodes=1),
    "huge exponents": _fill("a: [", "1.0e+999999999999999999999999999999999,", "]", nodes=1),
    "a huge exponent in an option": f"target_capacity: 1{'0' * 60}.0e+99\n{_APP}",
    "a long number in an option": f"target_capacity: {'9' * 60}\n{_APP}",
    "underscores": _fill("a: 1", "_"),
    "not numbers": _fill("a: [", ".nan,.inf,", "]", nodes=1),
    "no dates": _fill("a: [", "2001-99-99,", "]", nodes=1),
    "broken numbers with a tag": _fill("a: [", "!!int '',!!float x,!!bool y,", "]", nodes=3),
    # Tags, anchors, merges.
    "tags": _fill("a: ", "!!str "),
    "own tags": _fill("a: [", "!x y,", "]", nodes=1),
    "a tag of Python": "a: !!python/object/apply:os.system [exit]",
    "percent escapes in a tag": _fill("a: !<", "%c3%28", "> x"),
    "anchors": _numbered("", "- &a# x\n", 19_000),
    "an anchor twice": _fill("", "- &a x\n"),
    "a list in itself": "&a [*a]",
    "a mapping in itself": "&a {b: *a}",
    "a mapping merged into itself": "a: &b {<<: *b}",
    "a merge of merges": "- &a0 {x: 1}\n"
    + "".join(f"- &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60)),
    "a chain of merges": "- &a0 {x: 1}\n" + "".join(f"- &a{i} {{<<: *a{i - 1}}}\n" for i in range(1, 5000)),
    "merges of one mapping": _fill("a: &a {x: 1}\nb: {<<: [", "*a,", "]}", nodes=1),
    "merges of a large mapping": "a: &a {"
    + "".join(f"k{i}: 1," for i in range(5000))
    + "}\n"
    + "".join(f"b{i}: {{<<: *a}}\n" for i in range(100)),
    "a merge of nothing": _fill("", "- {<<: }\n", nodes=3),
    "a billion laughs": "- &a0 [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"- &a{i} [{f'*a{i - 1},' * 9}]\n" for i in range(1, 12)),
    "a chain of aliases": "- &a0 [x]\n" + "".join(f"- &a{i} [*a{i - 1}]\n" for i in range(1, 9000)),
    "a long text repeated": "- &a " + "x" * 130_000 + "\n- [" + "*a," * 30_000 + "]",
    "a long text repeated as a key": "- &a " + "x" * 130_000 + "\n- {" + "*a : 1," * 9000 + "}",
    "a number repeated": "- &a " + "1" * 64 + "\n- [" + "*a," * 19_000 + "]",
    # Many of one thing.
    "keys": _numbered("", "k#: 1\n", 9900),
    "one key": _fill("{", "a: 1, ", "}", nodes=2),
    "keys that are no text": _numbered("{", "#: 1, ", 9900, "}"),
    "keys that are lists": _fill("{", "[a]: 1, ", "}", nodes=3),
    "list items": _fill(_APP + "  args: {a: [", "1,", "]}", nodes=1),
    "many unknown keys": _numbered(_APP, "  num_replica_#: 1\n", 9900),
    "many unknown keys of a deployment": _numbered(
        _APP + "  deployments:\n  - name: D\n", "    num_replicas_#: 1\n", 9900
    ),
    "many unknown keys that look like one": _numbered(
        _APP + "  deployments:\n  - name: D\n", "    graceful_shutdown_wait_loop#_s: 1\n", 9900
    ),
    "many unknown keys of a runtime_env": _numbered(_APP + "  runtime_env:\n", "    working_dir#: 1\n", 9900),
    "many unknown keys at the top": _numbered(_APP, "http_option#: 1\n", 9900),
    "a long unknown key": _fill(_APP + "  ", "route_prefix", ": 1\n"),
    "many wrong words": _fill(
        "logging_config: {additional_log_standard_attrs: [", "asctim,", "]}\n" + _APP, nodes=1
    ),
    "many long wrong words": _fill(
        "logging_config: {additional_log_standard_attrs: [",
        "relativeCreate" + "d" * 40 + ",",
        "]}\n" + _APP,
        nodes=1,
    ),
    "applications": _numbered(
        "applications:\n", "- {name: a#, route_prefix: /a#, import_path: 'm:a'}\n", 2800
    ),
    "applications of one name": _fill("applications:\n", "- {name: a, import_path: 'm:a'}\n", nodes=5),
    "applications without anything": _fill("applications: [", "{},", "]", nodes=1),
    "applications that are none": _fill("applications: [", "1,", "]", nodes=1),
    "deployments": _numbered(_APP + "  deployments:\n", "  - {name: D#, num_replicas: 1}\n", 3900),
    "deployments of one name": _fill(_APP + "  deployments:\n", "  - {name: D, num_replicas: }\n", nodes=5),
    "environment variables": _numbered(_APP + "  runtime_env:\n    env_vars:\n", "      V#: canary\n", 9900),
    "environment variables that are none": _numbered(
        _APP + "  runtime_env:\n    env_vars:\n", "      V#: 1\n", 9900
    ),
    "requirements that are none": _fill(_APP + "  runtime_env: {pip: [", "1,", "]}", nodes=1),
    "labels": _numbered(
        _APP + "  deployments:\n  - name: D\n    ray_actor_options:\n      label_selector:\n",
        "        k#: 'in(" + "a, " * 20 + "'\n",
        4000,
    ),
    "a long label": _APP
    + "  deployments: [{name: D, ray_actor_options: {label_selector: {a: 'in("
    + "a, " * 80_000
    + "'}}}]",
    "a long label key": _APP
    + "  deployments: [{name: D, ray_actor_options: {label_selector: {"
    + "a." * 120_000
    + "/: x}}}]",
    "modules": _fill(_APP + "  runtime_env: {py_modules: [", "'http://[',", "]}", nodes=1),
    "addresses": _fill(_APP + "  runtime_env: {py_modules: [", "'https://h/main.zip',", "]}", nodes=1),
    "a long address": _APP + "  runtime_env: {working_dir: 'https://h/" + "main/" * 50_000 + "x.zip'}",
    "a long import path": _APP.replace("m:app", "m." * 120_000 + "app"),
    "a long import path of colons": _APP.replace("m:app", "'" + ":" * 250_000 + "'"),
    "a long name": _APP.replace("name: a", "name: " + "a" * 250_000),
    "a long name of slashes": _APP.replace("name: a", "name: " + "a/" * 120_000),
    "a long route prefix": _APP + "  route_prefix: " + "{" * 9 + "/" * 240_000,
    "bundles": _fill(
        _APP + "  deployments: [{name: D, placement_group_bundles: [", "{CPU: 0},", "]}]", nodes=3
    ),
    "secrets on one line": _fill("{password: x, ", "token: y, ", "}", nodes=4),
    "secret names": _fill("? ", "token-", "\n: ["),
    # Lints.
    "surprises": _fill(_APP + "  args: {a: [", "off,", "]}", nodes=1),
    "surprises in base 60": _fill(_APP + "  args: {a: [", "1:1,", "]}", nodes=1),
    "a surprise repeated": _APP + "  args: {a: &a off, b: [" + "*a," * 19_000 + "]}",
    "an anchor far from its text, repeated": _APP
    + "  args:\n    a: &a\n"
    + "      # x\n" * 20_000
    + "      off\n    b: ["
    + "*a," * 6000
    + "]",
    "a block above blank lines, repeated": _ALLOW
    + _APP
    + "  args:\n    a: &a |\n      x\n"
    + "\n" * 180_000
    + "    b: ["
    + "*a," * 18_000
    + "]",
    "a block below blank lines, repeated": _ALLOW
    + _APP
    + "  args:\n    a: &a >-\n"
    + "\n" * 9
    + "      x\n"
    + "\n" * 180_000
    + "    b: ["
    + "*a," * 18_000
    + "]",
    "a long quoted text, repeated": _ALLOW
    + _APP
    + '  args:\n    a: &a "'
    + "\\\n" * 90_000
    + 'x"\n    b: ['
    + "*a," * 18_000
    + "]",
    "comments that silence": _fill(_APP, "# deployer: allow yaml-surprise\n"),
    "comments that silence nothing": _numbered(_APP, "# deployer: allow yaml-surprize-#\n", 8000),
    "a comment that silences much": _numbered(_APP + "# deployer: allow a", ",yaml-surprise-#", 30_000),
    "a comment of spaces": _fill(_APP + "# deployer: allow a", " ", "b"),
    "a comment of commas": _fill(_APP + "# deployer: allow a", " ,"),
    "comments side by side": _fill(_APP + "#", " # deployer: allow"),
}

_POLICIES: dict[str, str] = {
    "keys of a policy": _numbered("", "health_#: 1\n", 9900),
    "unknown keys of checks": _fill("checks: [", "{ap: x, pat: y},", "]", nodes=5),
    "checks": _fill("checks: [", "{app: a, path: /a},", "]", nodes=5),
    "checks that are none": _fill("checks: [", "1,", "]", nodes=1),
    "a deep answer": "checks: [{app: a, path: /a, expect: {json: " + "{a: " * 28 + "1" + "}" * 30 + "]",
    "a large answer": _numbered("checks: [{app: a, path: /a, expect: {json: {", "k#: 1,", 9900, "}}}]"),
    "a long path": "checks: [{app: a, path: /" + "a/../" * 50_000 + "}]",
    "a long duration": "soak: " + "9" * 200_000 + "s",
    "a duration of digits": "soak: '" + "1" * 200_000 + "'",
    "durations": "soak: " + "1s" * 100_000,
    "a huge number": "heals_per_hour: " + "9" * 64,
    "names": _numbered("owns: [", "app#,", 19_000, "]"),
    "one name": _fill("owns: [", "a,", "]", nodes=1),
    "a long version": "ray_version: '2.60" + "a" * 200_000 + "'",
    "a version of digits": "ray_version: '" + "1" * 200_000 + "'",
    "a float for a version": "ray_version: 1.0e+300",
    "keys that are no text in a policy": _numbered("{", "#: 1, ", 9900, "}"),
}

_NAMES = _numbered(
    "applications:\n", "- {name: application-#, route_prefix: /a#, import_path: 'm:a'}\n", 2800
)

HOSTILE: dict[str, Input] = {
    **{
        name: Input(config=text if isinstance(text, bytes) else text.encode())
        for name, text in _CONFIGS.items()
    },
    **{name: Input(policy=text.encode()) for name, text in _POLICIES.items()},
    "checks of applications that are not there": Input(
        config=_NAMES.encode(),
        policy=(
            "checks: [" + "".join(f"{{app: applicatoin-{i}, path: /}}," for i in range(50)) + "]"
        ).encode(),
    ),
    "checks that lead elsewhere": Input(
        config=_NAMES.encode(),
        policy=(
            "checks: [" + "".join(f"{{app: application-{i}, path: /x}}," for i in range(50)) + "]"
        ).encode(),
    ),
}
"""By name."""
