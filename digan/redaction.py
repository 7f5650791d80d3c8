"""Credentials in text: an address keeps its host and path, but its user, password and the values of its query become ***."""

from __future__ import annotations

import re

HIDDEN = "***"
VALUE = r"(?!(?:true|false)\b)[^\s=&#\"'<>][^\s&#\"'<>]*"  # an option that is on or off is no secret
NAMES = "password|passwd|pwd|secret|token|api_?key|access_?key|signature|credential"
# Words end at whitespace. A password may hold every other sign, also one that an address should have encoded.
_PATTERNS = (
    (r"(?<=://)[^/\s:@]*:(?!\d+(?:[^\w/]|/|$))\S*@", f"{HIDDEN}@"),  # user:password@, also with a slash or @ in it
    (r"(?<=://)[^/\s]*@", f"{HIDDEN}@"),  # TOKEN@
    (r"(?<=://)(\S*?\?)[^\s=&#\"'<>]+(?=[\s&#\"'<>]|$)", rf"\1{HIDDEN}"),  # ?TOKEN
    (rf"([?&#][^\s=&#?]+=){VALUE}", rf"\1{HIDDEN}"),  # ?name=TOKEN&name=TOKEN
    (
        rf"((?:{NAMES})(?!\w*(?:path|file)\b)\w*=){VALUE}",
        rf"\1{HIDDEN}",
    ),  # AWS_SECRET_ACCESS_KEY=SECRET, but no file's path
    (
        r"(authorization[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|digest|token)\s+)?)[^\s\"',}]+",
        rf"\1{HIDDEN}",
    ),  # of a request
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), hidden) for pattern, hidden in _PATTERNS)


def redacted(text: str) -> str:
    """Return ``text`` without credentials; text that holds none is not changed."""
    for pattern, hidden in _COMPILED:
        text = pattern.sub(hidden, text)
    return text
