"""Credentials in text: an address keeps its host and path, but its user, password and the values of its query become ***."""

from __future__ import annotations

import re

HIDDEN = "***"
VALUE = r"(?!(?:true|false)\b)[^\s=&#\"'<>][^\s&#\"'<>]*"  # an option that is on or off is no secret
NAMES = "password|passwd|pwd|secret|token|api_?key|access_?key|signature|credential"
# Words end at whitespace. A password may hold every other sign, also one that an address should have encoded.
_PATTERNS = (
    (r"(?<=://)[^/\s]*@", f"{HIDDEN}@"),  # TOKEN@
    (r"(?<=%3A%2F%2F)(?:(?!%2F)\S)*?(?:%40|@)", f"{HIDDEN}@"),  # the same in an address that is encoded as a whole
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

# USER:PASSWORD in an address, which reaches to the next address or the end of the line. A host and its port look like a user
# and a password that begins with digits: the name and the port tell them apart. Databases have no @ after their port.
_USER = re.compile(
    r"(?<![\w+.-])(?P<scheme>[A-Za-z][\w+.-]*)://(?P<user>[^/\s:@]*):(?P<rest>\S(?:(?!(?<![\w+.:-])[A-Za-z][\w+.-]*://).)*)"
)
_PORT = re.compile(r"(?P<port>\d+)(?P<next>[^\w@]|$)")
_MACHINE = re.compile(r"localhost|\d+(?:\.\d+){3}|\[.*")  # an IPv6 address has colons
_WEB = re.compile(r"(?:https?|wss?|grpc|ray|s3)\Z", re.IGNORECASE)
_USUAL = {"80", "443", "5000", "5432", "6379", "8000", "8080", "8265", "8443", "9000", "10001"}
_WORD = re.compile(r"\S*@")  # a password without blanks
_SENTENCE = re.compile(r"[,;:.!?)\]}'\"]\s|[\"']")  # ends the address in a text
_HOST = re.compile(r"[\w.-]+(?::\d|/)")
_LATER = re.compile(r".*@(?=[\w.-]+(?::\d|[/?\s]|$))")  # a password with blanks


def redacted(text: str) -> str:
    """Return ``text`` without credentials; text that holds none is not changed."""
    text = _USER.sub(_without_user, text)
    for pattern, hidden in _COMPILED:
        text = pattern.sub(hidden, text)
    return text


def _without_user(match: re.Match[str]) -> str:
    """Return an address without user and password; unchanged if what looks like them is a host and its port."""
    scheme, user, rest = match["scheme"], match["user"], match["rest"]
    if _is_host(scheme, user, rest):
        return match[0]
    end = _end_of_password(rest)
    return match[0] if end == 0 else f"{scheme}://{HIDDEN}@{rest[end:]}"


def _is_host(scheme: str, name: str, rest: str) -> bool:
    port = _PORT.match(rest)
    if port is None:
        return name.startswith("[")
    is_usual = port["port"] in _USUAL or ("." in name and len(port["port"]) in (4, 5))
    return bool(_MACHINE.fullmatch(name)) or (is_usual and bool(_WEB.match(scheme) or port["next"].isspace()))


def _end_of_password(rest: str) -> int:
    """Return where the host begins; 0 if there is no password."""
    found = _SENTENCE.search(rest)
    word, later = _WORD.match(rest), _LATER.match(rest[: found.start() if found else len(rest)])
    if later and (word or rest[0].isdigit()) and not _HOST.match(rest, later.end()):
        later = None  # it is in what follows the address
    return max((each.end() for each in (word, later) if each), default=0)
