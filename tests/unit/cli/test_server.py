"""--server: which daemon is asked, with what, and what is said if it does not answer as it should."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from deployer.cli import client, server
from deployer.cli.main import _COMMANDS, _IS_OF_THIS_MACHINE, Failure, cli
from deployer.core.telling import unseen
from tests.support.free_port import free_port
from tests.support.hostile_http import Hostile, Request, answer
from tests.support.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

STATUS = json.dumps(unseen("staging"))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's environment, and no patience."""
    for name in ("SERVER", "TOKEN_FILE", "CA_FILE", "CONFIG"):
        monkeypatch.delenv(f"DEPLOYER_{name}", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(client, "_PATIENCE_SECONDS", 0.3)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A token of a person."""
    path = tmp_path / "token"
    path.write_text("dpl_canary\n")
    path.chmod(0o600)
    return path


def deployer(*args: str) -> Result:
    """Type `deployer ARGS`."""
    return CliRunner().invoke(cli, args)


def says(status: int, body: str = "{}", headers: tuple[str, ...] = ()) -> Hostile:
    """A server that answers everything so."""
    return Hostile(behave=lambda _request, _socket: answer(status, body, headers))


# --- what is asked -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["before", "after"])
def test_it_stands_before_or_after_the_name(token_file: Path, place: str) -> None:
    """No settings are needed; the token is sent to it, and nowhere else."""
    with says(200, STATUS) as there:
        options = ["--server", f"{there.address}/", "--token-file", str(token_file)]
        command = ["status", "staging", "-o", "json"]
        result = deployer(*options, *command) if place == "before" else deployer(*command, *options)

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["environment"] == "staging"
    [request] = there.requests
    assert (request.method, request.path) == ("GET", "/api/v1/environments/staging/status")
    assert request.headers["authorization"] == "Bearer dpl_canary"


def test_variables_name_it_too_and_an_option_counts_more(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the settings."""
    with says(200, STATUS) as one, says(200, STATUS) as other:
        monkeypatch.setenv("DEPLOYER_SERVER", one.address)
        monkeypatch.setenv("DEPLOYER_TOKEN_FILE", str(token_file))
        assert deployer("status", "staging").exit_code == 0
        assert deployer("status", "staging", "--server", other.address).exit_code == 0

    assert [len(one.requests), len(other.requests)] == [1, 1]
    assert other.requests[0].headers["authorization"] == "Bearer dpl_canary"


def test_without_a_token_none_is_sent() -> None:
    """A daemon may let everybody read."""
    with says(200, STATUS) as there:
        assert deployer("status", "staging", "--server", there.address).exit_code == 0

    assert "authorization" not in there.requests[0].headers


READS = {
    ("status",): ("/environments", {"items": [unseen("staging")]}),
    ("history",): ("/rollouts", {"items": [], "next": None}),
    ("audit", "list"): ("/audit", {"items": [], "next": None}),
    ("explain", "staging"): (
        "/environments/staging/explain",
        {"observed_at": "2026-11-22T10:43:00Z", "policy": [], "evidence": []},
    ),
    ("live", "staging"): ("/environments/staging/live", {"apps": [], "foreign": []}),
}


@pytest.mark.parametrize("command", list(READS), ids=" ".join)
def test_reads_come_from_it(command: tuple[str, ...]) -> None:
    """From its API, and not from a store that may be here too."""
    path, content = READS[command]
    with says(200, json.dumps(content)) as there:
        result = deployer(*command, "-o", "json", "--server", there.address)

    assert result.exit_code == 0, result.output
    assert [request.path.partition("?")[0] for request in there.requests] == [f"/api/v1{path}"]


def test_filters_and_pages_of_history_are_the_daemons() -> None:
    """It is asked again for what does not come at once, with the same filters, until there is no more."""
    pages = [{"items": [{"n": 1}], "next": "77"}, {"items": [{"n": 2}], "next": None}]

    def page(_request: Request, _socket: socket.socket) -> bytes:
        return answer(200, json.dumps(pages.pop(0)))

    with Hostile(behave=page) as there:
        options = ["--kind", "heal", "--result", "good", "--author", "Ada", "--since", "2026-11-22T10:00:00Z"]
        result = deployer("history", "staging", *options, "-o", "json", "--server", there.address)

    assert json.loads(result.stdout) == [{"n": 1}, {"n": 2}]
    first, second = (request.path for request in there.requests)
    for part in ("environment=staging", "kind=heal", "result=good", "author=Ada", "since=2026-11-22T10%3A00"):
        assert part in first
        assert part in second
    assert "before=" not in first
    assert "before=77" in second


@pytest.mark.parametrize("command", ["sync", "rollback", "retry", "pause", "resume"])
def test_writes_go_to_it_once_each_with_a_key_and_without_a_name(token_file: Path, command: str) -> None:
    """Whose token it is says who asks; the key says which request it is."""
    told = json.dumps({"message": "It is done.", "dry_run": False})
    with says(200, told) as there:
        options = ["--reason", "why", "--server", there.address, "--token-file", str(token_file)]
        result = deployer(command, "staging", *options)

    assert result.exit_code == 0, result.output
    [request] = there.requests
    assert (request.method, request.path) == ("POST", f"/api/v1/environments/staging/{command}")
    order = json.loads(request.body)
    assert order["reason"] == "why"
    assert "by" not in order
    assert len(request.headers["idempotency-key"]) == 36


@pytest.mark.parametrize("name", ["..", "a/b", "STAGING", "a?b"])
def test_a_name_cannot_lead_elsewhere(name: str) -> None:
    """It becomes a part of an address."""
    with says(200) as there:
        result = deployer("resume", name, "--server", there.address)

    assert result.exit_code == 64
    assert there.requests == []


# --- what it may be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("https://Deployer.Example.com/", "https://deployer.example.com"),
        (
            "https://deployer.example.com:8443/tools/deployer/",
            "https://deployer.example.com:8443/tools/deployer",
        ),
        ("http://127.0.0.1:8700", "http://127.0.0.1:8700"),
        ("http://127.1.2.3:8700", "http://127.1.2.3:8700"),
        ("http://[::1]:8700", "http://[::1]:8700"),
        ("http://localhost:8700", "http://localhost:8700"),
    ],
)
def test_addresses_that_are_taken(given: str, normal: str) -> None:
    """With TLS to anywhere, without it to this machine."""
    assert server.address(given) == normal


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("http://deployer.example.com:8700", "ssh -L 8700:127.0.0.1:8700 deployer.example.com"),
        ("http://127.0.0.1.example.com", "for all to read"),
        ("http://10.0.0.1", "for all to read"),
        ("http://0.0.0.0:8700", "for all to read"),
        ("https://ada:canary@deployer.example.com", "--token-file"),
        ("https://deployer.example.com/?token=canary", "what follows ?"),
        ("deployer.example.com", "must be an address such as"),
        ("ftp://deployer.example.com", "must be an address such as"),
        ("https://", "must be an address such as"),
        ("https://[::1", "must be an address such as"),
        ("https://a:99999", "must be an address such as"),
        ("https://a b", "must be an address such as"),
        ("https://a\x1b[31m", "must be an address such as"),
    ],
)
def test_addresses_that_are_refused(given: str, told: str) -> None:
    """Before anything is sent, with what to write instead, and without repeating a password."""
    result = deployer("status", "--server", given)

    assert result.exit_code == 64
    assert told in result.output
    assert "canary" not in result.output


@pytest.mark.parametrize("content", ["", "\n", "two words", "a\nb", "\x00", "é"])
def test_a_file_that_holds_no_token(token_file: Path, content: str) -> None:
    """Said before anything is sent: part of it may be a secret, so it is not shown."""
    token_file.write_text(content)
    with says(200) as there:
        result = deployer("status", "--server", there.address, "--token-file", str(token_file))

    assert result.exit_code == 64
    assert "holds no token" in result.output
    assert there.requests == []


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    """With its name, and what names it."""
    result = deployer("status", "--server", "https://a.example", "--token-file", str(tmp_path / "none"))

    assert result.exit_code == 64
    assert "none: No such file or directory" in result.output
    assert "$DEPLOYER_TOKEN_FILE" in result.output


def test_a_token_that_others_can_read_is_noted_once(token_file: Path) -> None:
    """No reason to keep somebody from going back; some CI systems make such files."""
    token_file.chmod(0o644)
    with says(200, json.dumps({"items": [], "next": None})) as there:
        result = deployer("history", "--server", there.address, "--token-file", str(token_file))

    assert result.exit_code == 0
    assert result.stderr.count("chmod 600") == 1


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command, with those of groups."""
    context = click.Context(cli)
    for name in _COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield (name,), command
        if isinstance(command, click.Group):
            yield from (((name, inner), one) for inner, one in command.commands.items())


def test_every_command_has_the_common_options_and_none_takes_a_token() -> None:
    """Also those that are added tomorrow; a token on a command line is seen by all on the machine."""
    for names, command in commands():
        options = {option for param in command.params for option in param.opts}
        common = {"-c", "--config", "-o", "--output", "--server", "--token-file", "--ca-file"}
        # The demo has settings of its own, and prints a story.
        assert common - options <= ({"-c", "--config", "-o", "--output"} if names == ("demo",) else set()), (
            names
        )
        assert "--token" not in options, names


@pytest.mark.parametrize("command", list(_IS_OF_THIS_MACHINE))
def test_what_is_of_this_machine_refuses_it(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sentence, in both places; but a variable is for the other commands."""
    arguments = {
        "backup": ["x"],
        "restore": ["x"],
        "init": ["x"],
        "diff": ["a", "b"],
        "render": ["a"],
        "try": ["x"],
        "config": ["show"],
        "notify": ["list"],
    }
    rest = [*arguments.get(command, []), *(["bash"] if command == "completion" else [])]
    for words in (
        [command, "--server", "https://a.example", *rest],
        ["--server", "https://a.example", command, *rest],
    ):
        result = deployer(*words)
        assert result.exit_code == 64, result.output
        assert f"`deployer {command}` takes no --server" in result.output
    monkeypatch.setenv("DEPLOYER_SERVER", "https://a.example")
    if command in {"config", "schema", "completion", "validate"}:
        assert "takes no --server" not in deployer(command, *rest).output


def test_a_log_is_verified_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with the variable: whoever relies on it must not verify another daemon's."""
    monkeypatch.setenv("DEPLOYER_SERVER", "https://a.example")
    result = deployer("audit", "verify")

    assert result.exit_code == 64
    assert "on the daemon's machine" in result.output


# --- what it answers ---------------------------------------------------------------------------------------


def problem(status: int, detail: str, exit_code: int = 1) -> str:
    """As the API says it."""
    return json.dumps({"status": status, "detail": detail, "exit_code": exit_code})


@pytest.mark.parametrize(
    ("status", "body", "headers", "code", "told"),
    [
        (403, problem(403, "This needs the role deployer."), (), 7, "This needs the role deployer."),
        (403, "<html>", (), 7, "does not let you do this"),
        (421, problem(421, "No."), (), 1, "add it to server.allowed_hosts"),
        (429, problem(429, "Too many."), ("Retry-After: 17",), 1, "Too many. Wait 17 s."),
        (429, "", (), 1, "Wait a minute."),
        (409, problem(409, "It is paused.", 7), (), 7, "It is paused."),
        (404, problem(404, "No such one.", 64), (), 64, "No such one."),
        (302, "", (), 1, "is not this daemon's API (HTTP 302)"),
        (200, "<html>", (), 1, "is not this daemon's API (HTTP 200)"),
    ],
)
def test_each_refusal_has_its_sentence_and_exit_code(
    token_file: Path, status: int, body: str, headers: tuple[str, ...], code: int, told: str
) -> None:
    """Its own, or the daemon's; and never the token."""
    with says(status, body, headers) as there:
        result = deployer("resume", "staging", "--server", there.address, "--token-file", str(token_file))

    assert result.exit_code == code, result.output
    assert told in result.output
    assert "canary" not in result.output


def test_who_has_no_token_is_told_how_to_get_one(token_file: Path) -> None:
    """And who has a wrong one, which file it is in. Exit code 7, at once: it will not become right."""
    with says(401, problem(401, "This needs a token.")) as there:
        without = deployer("status", "--server", there.address)
        wrong = deployer("status", "--server", there.address, "--token-file", str(token_file))

    assert (without.exit_code, wrong.exit_code) == (7, 7)
    assert "name that with --token-file" in without.output
    assert "deployer token create" in without.output
    assert f"does not take the token in {token_file}" in wrong.output
    assert "canary" not in wrong.output
    assert len(there.requests) == 2


def test_nobody_there() -> None:
    """Its address is the first thing to look at."""
    result = deployer("status", "--server", f"http://127.0.0.1:{free_port()}")

    assert result.exit_code == 1
    assert "is the daemon running there" in result.output


def test_a_lost_answer_is_asked_for_again_under_the_same_key() -> None:
    """What was done is not done twice, and what was not done is done."""

    def once(request: Request, _socket: socket.socket) -> bytes | None:
        told = json.dumps({"message": "It goes back.", "dry_run": False})
        return None if request.connection == 0 else answer(200, told)

    with Hostile(behave=once) as there:
        result = deployer("rollback", "staging", "--server", there.address)

    assert result.exit_code == 0, result.output
    keys = [request.headers["idempotency-key"] for request in there.sent("POST")]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_what_is_still_being_carried_out_is_waited_for() -> None:
    """The daemon says so to who repeats a request too soon."""
    busy = problem(409, "The first request with this Idempotency-Key is still being carried out: try again.")
    answers = [None, answer(409, busy), answer(200, json.dumps({"message": "Done.", "dry_run": False}))]

    with Hostile(behave=lambda _request, _socket: answers.pop(0)) as there:
        result = deployer("rollback", "staging", "--server", there.address)

    assert result.exit_code == 0, result.output
    assert len({request.headers["idempotency-key"] for request in there.requests}) == 1


def test_an_answer_that_stays_lost_is_no_success() -> None:
    """Whether it was done is not known, and that is said."""
    with Hostile(behave=lambda _request, _socket: None) as there:
        result = deployer("rollback", "staging", "--server", there.address)

    assert result.exit_code == 1
    assert "`deployer status staging` shows whether anything was done" in result.output


# --- https -------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """One that no system knows."""
    return Authority(tmp_path / "authority")


def secure(authority: Authority, **certificate: Any) -> Hostile:
    """A daemon behind https."""
    context = authority.server()
    if certificate:
        authority.certify(context, **certificate)
    return Hostile(behave=lambda _request, _socket: answer(200, STATUS), tls=context)


def test_https_is_checked_with_the_authorities_of_a_file(authority: Authority, token_file: Path) -> None:
    """--ca-file, or its variable."""
    with secure(authority) as there:
        url = f"https://127.0.0.1:{there.port}"
        options = ["--server", url, "--ca-file", str(authority.file), "--token-file", str(token_file)]
        result = deployer("status", "staging", *options)

    assert result.exit_code == 0, result.output
    assert there.requests[0].headers["authorization"] == "Bearer dpl_canary"


@pytest.mark.parametrize("certificate", [{}, {"name": "DNS:other.example"}, {"expired": True}], ids=str)
def test_a_certificate_that_is_not_right_gets_nothing(
    authority: Authority, token_file: Path, certificate: dict[str, Any]
) -> None:
    """Neither the token nor a second try; and what to do is said."""
    with secure(authority, **certificate) as there:
        options = ["--server", f"https://127.0.0.1:{there.port}", "--token-file", str(token_file)]
        if certificate:
            options += ["--ca-file", str(authority.file)]
        result = deployer("status", "staging", *options)

    assert result.exit_code == 1
    assert "cannot be trusted (" in result.output
    assert "--ca-file" in result.output
    assert there.requests == []


def test_the_systems_authorities_count(
    authority: Authority, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenSSL finds them, and not the list that comes with requests."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with secure(authority) as there:
        url = f"https://127.0.0.1:{there.port}"
        result = deployer("status", "staging", "--server", url, "--token-file", str(token_file))

    assert result.exit_code == 0, result.output


def test_a_server_without_tls_is_told_apart() -> None:
    """A port where http is spoken."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        result = deployer("status", "--server", f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()

    assert result.exit_code == 1
    assert "does not speak TLS as it should" in result.output


def test_a_ca_file_that_is_not_there(tmp_path: Path) -> None:
    """Before anything is sent."""
    result = deployer("status", "--server", "https://a.example", "--ca-file", str(tmp_path / "none"))

    assert result.exit_code == 64
    assert "$DEPLOYER_CA_FILE" in result.output


def test_no_proxy_and_no_netrc_of_the_environment_gets_a_token_for_this_machine(
    token_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would replace the token with what a .netrc has for the host."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with says(200, STATUS) as there, says(200, STATUS) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address)
        result = deployer("status", "staging", "--server", there.address, "--token-file", str(token_file))

    assert result.exit_code == 0, result.output
    assert proxy.requests == []
    assert there.requests[0].headers["authorization"] == "Bearer dpl_canary"


def test_the_settings_take_its_variables_for_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`DEPLOYER_SERVER` is not the group `server`, whose keys have two underscores before them."""
    file = tmp_path / "deployer.yaml"
    file.write_text(
        f"state_dir: {tmp_path}\nrepositories: {{a: {{url: {tmp_path}}}}}\nenvironments:\n"
        '  a: {repository: a, branch: main, path: ., cluster: {address: "http://127.0.0.1:9"}}\n'
    )
    for name in ("SERVER", "TOKEN_FILE", "CA_FILE"):
        monkeypatch.setenv(f"DEPLOYER_{name}", "https://a.example")
    result = deployer("config", "validate", "-c", str(file))

    assert result.exit_code == 0, result.output


def test_a_failure_is_one_for_who_uses_the_module() -> None:
    """Not only for the command line."""
    with pytest.raises(Failure, match="must be an address"):
        server.address("")
