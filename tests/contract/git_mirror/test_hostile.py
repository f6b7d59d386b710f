"""x"""
# --- who committed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commit", "name", "subject"),
    [
        pytest.param({"message": "Raise price\n\nBecause."}, "Ada", "Raise price", id="plain"),
        pytest.param({"message": "\n\nOne\ntwo\r\n\nthree"}, "Ada", "One two", id="subject-on-two-lines"),
        pytest.param({"message": ""}, "Ada", "", id="no-message"),
        pytest.param({"message": "a\u2028b\x85c"}, "Ada", "a b c", id="odd-line-breaks"),
        pytest.param({"author": "José <ada@example.com>"}, "José", "change", id="utf-8"),
        pytest.param(
            {"author": "José <ada@example.com>".encode("latin-1"), "encoding": "ISO-8859-1"},
            "José",
            "change",
            id="latin-1",
        ),
        pytest.param({"message": b"caf\xe9"}, "Ada", "caf\ufffd", id="not-utf-8"),
        pytest.param({"message": "x", "encoding": "punycode"}, "Ada", "x", id="codec-that-is-no-encoding"),
        pytest.param({"message": "x", "encoding": "iso-8859-99"}, "Ada", "x", id="encoding-that-is-none"),
        pytest.param(
            {"message": "tree 1\nauthor Eve <e@x> 1 +0000"},
            "Ada",
            "tree 1 author Eve <e@x> 1 +0000",
            id="fake-headers",
        ),
        pytest.param({"message": "x" * 600}, "Ada", "x" * 499 + "…", id="long-subject"),
    ],
)
def test_commits_are_read_whatever_they_say(
    local: World, commit: dict[str, Any], name: str, subject: str
) -> None:
    """Names, addresses and messages are chosen by whoever can push: one line each, never an error."""
    made = local.origin.commit({CONFIG: "1"}, **commit)
    mirror = local.mirror()
    bring(mirror)

    revision = mirror.revision(made)

    assert revision.commit == made
    assert revision.author == revision.committer == Person(name=name, email="ada@example.com")
    assert revision.subject == subject
    assert revision.committed_at == datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC)


def test_a_commit_that_git_finds_malformed_is_refused(local: World) -> None:
    """What fails git's own check does not get into the mirror, and the message says what to do."""
    tree = local.origin.git("write-tree")
    raw = f"tree {tree}\nauthor Eve 1 +0000\ncommitter Eve 1 +0000\n\nx".encode()
    commit = local.origin.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", data=raw)
    local.origin.branch("main", commit)
    mirror = local.mirror()

    with pytest.raises(GitUnavailable, match="damaged or hostile object in it: run `git fsck`"):
        bring(mirror)


