"""Certificates made by openssl: of an authority of the test's own, good ones and every wrong kind."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

from tests.support.prerequisites import require

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 20.0

_EXTENSIONS = "subjectAltName={name}\nbasicConstraints=CA:FALSE\n"


class Authority:
    """A certificate authority in a folder. `file` is what a client trusts it by."""

    def __init__(self, folder: Path) -> None:
        """Make its key and its certificate."""
        require("openssl", shutil.which("openssl") is not None, "apt-get install openssl")
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.file = folder / "ca.pem"
        self._key = folder / "ca-key.pem"
        made = ["req", "-x509", "-new", *_new_key(self._key), "-days", "2", "-subj", "/CN=test authority"]
        _openssl(*made, "-out", str(self.file))

    def server(self) -> ssl.SSLContext:
        """What a server on 127.0.0.1 needs. `certify` changes it, also while the server runs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certify(context)
        return context

    def copy(self, cert_file: Path, key_file: Path, name: str = "IP:127.0.0.1") -> None:
        """Put what a server of this name needs into these files."""
        self.certify(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), name)
        slug = self._slug(name, expired=False)
        for end, to in (("pem", cert_file), ("key", key_file)):
            # Another file each time, as those who renew certificates make it.
            new = to.with_name(f"{to.name}.new")
            shutil.copy(self._folder / f"{slug}.{end}", new)
            new.chmod(0o600)
            new.replace(to)

    def certify(self, context: ssl.SSLContext, name: str = "IP:127.0.0.1", *, expired: bool = False) -> None:
        """Make its next connections those of `name` (as in a subjectAltName), today or yesterday."""
        slug = self._slug(name, expired=expired)
        key, request, certificate = (self._folder / f"{slug}.{end}" for end in ("key", "csr", "pem"))
        if not certificate.exists():
            extensions = self._folder / f"{slug}.ext"
            extensions.write_text(_EXTENSIONS.format(name=name))
            _openssl("req", "-new", *_new_key(key), "-subj", "/CN=test server", "-out", str(request))
            signer = ["-CA", str(self.file), "-CAkey", str(self._key), "-CAcreateserial"]
            # `-not_after` came with openssl 3.4; one that ends before it begins is expired as well.
            days = "-1" if expired else "2"
            _openssl(
                *["x509", "-req", "-in", str(request), *signer, "-days", days],
                *["-extfile", str(extensions), "-out", str(certificate)],
            )
        context.load_cert_chain(certificate, key)

    def _slug(self, name: str, *, expired: bool) -> str:
        return "".join(character if character.isalnum() else "-" for character in f"{name}-{expired}")


def _new_key(path: Path) -> list[str]:
    # Elliptic curves: a key takes 5 ms, where RSA takes 100.
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path)]


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=_SECONDS)
