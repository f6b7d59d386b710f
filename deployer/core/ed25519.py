"""Whether an Ed25519 signature is one: RFC 8032, in Python's own numbers.

Owns the curve. Must not know what is signed, nor what a key file looks like. It makes no signatures: nothing
here is secret, so its time may tell anything. Invariant: no signature can be written in a second way. Numbers
that are not reduced, points in another than their one encoding, and keys of a small order are refused.

A signature takes some 3 ms. The library that would take 0.1 ms is compiled, 4 MB, and would be there for a
dozen checkpoints.
"""

from __future__ import annotations

import hashlib

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
"""x = X/Z, y = Y/Z, xy = T/Z: as X, Y, Z, T."""

_NEUTRAL: _Point = (0, 1, 1, 0)
_BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE_Y = 4 * pow(5, -1, _P) % _P
_BASE: _Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature was made over the message by the owner of the key."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    point = _decoded(public_key)
    s = int.from_bytes(signature[32:], "little")
    if point is None or _is_small(point) or s >= _L:
        return False
    challenge = hashlib.sha512(signature[:32] + public_key + message).digest()
    k = int.from_bytes(challenge, "little") % _L
    # [s]B - [k]A is to be R. Compared as it is written, as OpenSSH does: so R has one encoding only.
    return _encoded(_combined(s, _BASE, k, _negative(point))) == signature[:32]


def is_key(public_key: bytes) -> bool:
    """Whether these bytes are a public key that can be used: a point, in its one encoding, of large order."""
    point = _decoded(public_key)
    return point is not None and not _is_small(point)


def _decoded(encoding: bytes) -> _Point | None:
    """The point with this encoding; None if there is none, or this is not how it is written."""
    if len(encoding) != PUBLIC_KEY_BYTES:
        return None
    number = int.from_bytes(encoding, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if (v * x * x - u) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _encoded(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _combined(a: int, one: _Point, b: int, other: _Point) -> _Point:
    """[a]one + [b]other, both in one walk over their bits (Shamir's trick)."""
    choice = (_NEUTRAL, one, other, _sum(one, other))
    result = _NEUTRAL
    for bit in range(max(a.bit_length(), b.bit_length()) - 1, -1, -1):
        result = _double(result)
        add = (a >> bit & 1) | (b >> bit & 1) << 1
        if add:
            result = _sum(result, choice[add])
    return result


def _sum(one: _Point, other: _Point) -> _Point:
    # RFC 8032, 5.1.4; complete, so that no pair of points is a special case.
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(point: _Point) -> _Point:
    x, y, z, _ = point
    a, b = x * x % _P, y * y % _P
    h, g = a + b, a - b
    e = h - (x + y) * (x + y)
    f = 2 * z * z + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _negative(point: _Point) -> _Point:
    return _P - point[0], point[1], point[2], _P - point[3]


def _is_small(point: _Point) -> bool:
    """Whether eight times it is nothing: with such a key, signatures fit messages that nobody signed."""
    for _ in range(3):
        point = _double(point)
    x, y, z, _ = point
    return x % _P == 0 and (y - z) % _P == 0
