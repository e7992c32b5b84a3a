"""Who may talk to the viewer: whoever has its address with the token, from a page of its own.

A server on this machine alone is still within reach of every web page that is open on it: pages may
open websockets to anywhere, and a name of theirs may lead to 127.0.0.1. So each request needs

- a `Host` that is this machine, or one that the user allows: no foreign name that leads here,
- no `Origin`, or that of the page itself: no page of another address,
- the token, which only the printed address has; the page keeps it in a cookie.

What the page may load is this server's too (`Content-Security-Policy`).
"""

from __future__ import annotations

import hmac
import http.client
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from sdfrender.errors import InputError

if TYPE_CHECKING:
    from websockets.datastructures import Headers
    from websockets.http11 import Request, Response

HERE = ("localhost", "127.0.0.1", "::1")
POLICY = (  # the page is one file with scripts in it, which compile others
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "frame-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

Answer = Callable[[Any, "Request"], "Response | None"]
_patching = threading.Lock()


class Guard:
    """Refuses requests that do not come from the page that the printed address opens.

    Args:
        allowed: names of hosts beside this machine's own, under which a proxy or a tunnel makes
            the page known.

    Attributes:
        token: what the address ends with.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        for name in allowed:
            if not name or _name(name) != name.lower():
                raise InputError(f"--allow-host: need the bare name of a host, got {name!r}")
        self.hosts = {*HERE, *(name.lower() for name in allowed)}
        self.others = self.hosts - {*HERE}
        self.token = secrets.token_urlsafe(24)
        self.cookie = f"sdfrender-{secrets.token_hex(4)}"  # cookies do not tell ports apart

    def obstacle(self, path: str, headers: Headers) -> str | None:
        """Why a request is refused, or None."""
        hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
        if len(hosts) != 1 or _name(hosts[0]) not in self.hosts:
            return (
                f"The viewer is not known by the name {', '.join(hosts)[:200]!r}: start it with "
                "--allow-host NAME if it should be."
            )
        own = origins in ([], [f"http://{hosts[0]}"], [f"https://{hosts[0]}"])
        if not own and not all(_name_of_page(origin) in self.others for origin in origins):
            return "Pages of other addresses may not use the viewer."
        if not (self._fits(self.asked(path)) or self._fits(self._kept(headers))):
            return "Open the address that the viewer has printed, with its token."
        return None

    def asked(self, path: str) -> str:
        """The token in an address."""
        return parse_qs(urlsplit(path).query).get("token", [""])[-1]

    def _kept(self, headers: Headers) -> str:
        """The token that the page keeps."""
        for stored in headers.get_all("Cookie"):
            try:
                found = SimpleCookie(stored).get(self.cookie)
            except CookieError:
                continue
            if found is not None:
                return found.value
        return ""

    def _fits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())

    def watch(self, answer: Answer | None) -> Answer:
        """What answers requests, behind this guard."""
        from websockets.datastructures import Headers
        from websockets.http11 import Response

        def guarded(connection: Any, request: Request) -> Response | None:
            reason = self.obstacle(request.path, request.headers)
            if reason is not None:
                words = {"Content-Type": "text/plain; charset=utf-8", **HEADERS}
                status = HTTPStatus.FORBIDDEN
                return Response(status, status.phrase, Headers(words), f"{reason}\n".encode())
            found = answer(connection, request) if answer is not None else None
            if found is not None:
                for name, value in HEADERS.items():
                    found.headers[name] = value
                if self.asked(request.path):
                    kept = f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/"
                    found.headers["Set-Cookie"] = kept
            return found

        return guarded


@contextmanager
def guarding(guard: Guard) -> Iterator[None]:
    """Servers that viser starts inside are behind the guard.

    Viser has no place for a guard of its own. See `check_guarded`.
    """
    from websockets.asyncio import server as there

    serve = there.serve

    def guarded(*args: Any, process_request: Any = None, **options: Any) -> Any:
        return serve(*args, process_request=guard.watch(process_request), **options)

    with _patching:
        there.serve = guarded  # type: ignore[assignment,misc]
        try:
            yield
        finally:
            there.serve = serve  # type: ignore[misc]


def check_guarded(host: str, port: int) -> None:
    """Check that a server refuses who has no token: viser may come to start it in another way.

    Raises:
        InputError: it does not.
    """
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request("GET", "/")
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != HTTPStatus.FORBIDDEN:
        raise InputError(
            "the viewer: need a version of viser whose server can be guarded, this one answers "
            f"strangers ({status}): pip install 'viser<1.2'"
        )


def _name(host: str) -> str:
    """The name of a host without its port, in small letters; nothing where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname or "" if not (parts.path or parts.username) else ""
    except ValueError:
        return ""


def _name_of_page(origin: str) -> str:
    """The name of the host that a page is from; nothing where it is from none."""
    try:
        return _name(urlsplit(origin).netloc)
    except ValueError:
        return ""
