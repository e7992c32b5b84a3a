"""Who is let into the viewer: real clients, a hostile page in a browser, names that are code."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from unittest.mock import patch

import pytest
import tiny
import torch

from sdfrender import InputError, extract_mesh

pytest.importorskip("viser", reason="needs the package viser")

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from sdfrender.viewer import server as server_module
from sdfrender.viewer.exhibit import Errors, Exhibit, Views
from sdfrender.viewer.guard import Guard, guarding
from sdfrender.viewer.server import HOST, Viewer, free_port

PATIENCE = 60.0  # seconds, for a busy machine
CODE = '<iframe srcdoc="<script>parent.HACKED = 1; alert(1)</script>"></iframe>'
FOREIGN = "![x](http://127.0.0.2:9/x.png) <img src='http://127.0.0.2:9/y.png'> {alert(1)}"


@pytest.fixture(scope="module")
def viewer() -> Iterator[Viewer]:
    opened = Viewer(Exhibit("ball", tiny.true_lattice(8)), allowed=["viewer.example"])
    yield opened
    opened.close()


def get(viewer: Viewer, path: str, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and text of an answer, to other headers than a browser would send."""
    with closing(http.client.HTTPConnection(HOST, viewer.port, timeout=PATIENCE)) as connection:
        connection.putrequest("GET", path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def opens(viewer: Viewer, query: str = "", **headers: str) -> bool:
    """Whether a websocket is opened, with something to read."""
    origin = headers.pop("Origin", None)
    host = headers.pop("Host", None) or f"{HOST}:{viewer.port}"
    name, _, port = host.partition(":")
    with socket.create_connection((HOST, viewer.port)) as plain:
        try:
            with connect(
                f"ws://{name}:{port or 80}/{query}", sock=plain, origin=origin,  # type: ignore[arg-type]
                additional_headers=headers, subprotocols=["viser-v1.1.1"],  # type: ignore[list-item]
                open_timeout=PATIENCE,
            ) as client:  # fmt: skip
                return bool(client.recv(timeout=PATIENCE))
        except InvalidStatus as refused:
            return refused.response.status_code != 403


def test_the_token_opens_the_page_and_a_cookie_keeps_it(viewer: Viewer) -> None:
    token = f"?token={viewer.guard.token}"
    assert viewer.url.endswith(token)
    assert len(viewer.guard.token) >= 32
    for path in ("/", "/index.html", "/?token=", "/?token=x", f"/{token}x", "/?other=1"):
        assert get(viewer, path)[0] == 403, path
    status, headers, _ = get(viewer, f"/{token}")
    assert status == 200
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    cookie = headers["Set-Cookie"].split(";")[0]
    assert "HttpOnly" in headers["Set-Cookie"]
    assert "SameSite=Strict" in headers["Set-Cookie"]
    assert get(viewer, "/", Cookie=cookie)[0] == 200
    assert get(viewer, "/", Cookie=f"other=1; {cookie}; third=2")[0] == 200
    assert get(viewer, "/", Cookie=cookie[:-1])[0] == 403
    assert opens(viewer, Cookie=cookie)
    assert opens(viewer, token)
    assert not opens(viewer)
    assert not opens(viewer, "?token=x", Cookie="x=y")


def test_two_viewers_do_not_open_each_other(viewer: Viewer) -> None:
    other = Guard()
    assert other.token != viewer.guard.token
    assert other.cookie != viewer.guard.cookie
    assert get(viewer, f"/?token={other.token}")[0] == 403


@pytest.mark.parametrize(
    ("host", "let_in"),
    [
        ("localhost:{port}", True),
        ("LOCALHOST:9999", True),  # another port here, through a tunnel
        ("[::1]:{port}", True),
        ("viewer.example", True),
        ("evil.example:{port}", False),  # its name leads here
        ("localhost.evil.example", False),
        ("evil@localhost", False),
        ("localhost/evil", False),
        ("0.0.0.0:{port}", False),
        ("", False),
    ],
)
def test_names_that_lead_here(host: str, let_in: bool, viewer: Viewer) -> None:
    host = host.format(port=viewer.port)
    status, _, text = get(viewer, f"/?token={viewer.guard.token}", Host=host)
    assert status == (200 if let_in else 403)
    if not let_in:
        assert b"--allow-host" in text


@pytest.mark.parametrize(
    ("origin", "let_in"),
    [
        ("http://{here}", True),
        ("https://viewer.example", True),
        ("https://viewer.example:8443", True),
        ("https://evil.example", False),
        ("http://127.0.0.1:3000", False),  # another server of this machine
        ("http://localhost:{port}", False),
        ("null", False),  # a page in a frame without rights
        ("file://", False),
        ("http://{here}.evil.example", False),
    ],
)
def test_pages_of_other_addresses(origin: str, let_in: bool, viewer: Viewer) -> None:
    origin = origin.format(here=f"{HOST}:{viewer.port}", port=viewer.port)
    token = f"?token={viewer.guard.token}"  # even if it were known
    assert opens(viewer, token, Origin=origin) is let_in
    assert get(viewer, f"/{token}", Origin=origin)[0] == (200 if let_in else 403)


@pytest.mark.parametrize("name", ["", "a/b", "http://a", "a:80", "*", "me@a"])
def test_hosts_that_are_none(name: str) -> None:
    if name == "*":  # stands for nothing but itself
        assert "localhost" in Guard([name]).hosts
        return
    with pytest.raises(InputError, match="--allow-host: need the bare name of a host"):
        Guard([name])


def test_a_viser_that_cannot_be_guarded_is_not_used() -> None:
    class Open:
        def watch(self, answer: Any) -> Any:
            return answer

    def not_guarding(guard: Guard) -> Any:
        return guarding(Open())  # type: ignore[arg-type]

    with (
        patch.object(server_module, "guarding", not_guarding),
        pytest.raises(InputError, match="need a version of viser whose server can be guarded"),
    ):
        Viewer(Exhibit("ball", tiny.true_lattice(8)))


def test_the_last_ports() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 65535))
        taken.listen()
        with pytest.raises(InputError, match="--port: need a port that is free, none is"):
            Viewer(Exhibit("ball", tiny.true_lattice(8)), 65535)
        assert free_port(65534) == 65534


def named_in_code() -> Viewer:
    lattice = tiny.true_lattice(8)
    pictures = torch.zeros(2, tiny.HEIGHT, tiny.WIDTH, 3, dtype=torch.uint8)
    views = Views((CODE, FOREIGN), (True, True), tiny.ring(2), pictures)
    mesh = extract_mesh(lattice)
    errors = Errors(torch.linspace(0, 1, len(mesh.vertices)), CODE + FOREIGN)
    return Viewer(Exhibit(CODE, lattice, mesh, views, errors))


def test_names_from_files_are_words_and_not_code() -> None:
    viewer = named_in_code()
    try:

        class Event:
            client: Any = None

        with patch.object(Event, "client") as client:
            client.atomic.return_value.__enter__.return_value = None
            for k in (0, 1):
                assert viewer._views is not None
                viewer._stand_at(viewer._views, k, viewer._views.cameras.centers, Event())
                assert "<" not in viewer._view_name.content
        assert "<" not in viewer._scale[1].content
        assert "&lt;iframe" in viewer._scale[1].content
    finally:
        viewer.close()


HOSTILE = """
<script>
function attempt(address) {{
  const ws = new WebSocket(address, ["viser-v1.1.1"]);
  ws.onmessage = () => document.title += " read";
  ws.onclose = () => document.title += " closed";
}}
attempt("ws://127.0.0.1:{port}/");
attempt("ws://localhost:{port}/");
</script>
"""


class Page(BaseHTTPRequestHandler):
    text = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_a_browser_keeps_a_hostile_page_out_and_runs_no_names(browser: Any) -> None:
    viewer = named_in_code()
    Page.text = HOSTILE.format(port=viewer.port)
    hostile = HTTPServer((HOST, 0), Page)
    threading.Thread(target=hostile.serve_forever, daemon=True).start()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        asked: list[str] = []
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: asked.append("a dialog"))
        page.goto(viewer.url)
        page.get_by_text("Surface", exact=True).wait_for()
        viewer._menu.value = "error on the mesh"
        viewer._view_name.content = viewer._scale[1].content
        page.get_by_text("iframe srcdoc").first.wait_for()
        page.wait_for_timeout(1500)
        assert page.evaluate("window.HACKED") is None
        assert page.locator("iframe").count() == 0
        assert not [url for url in asked if "127.0.0.2" in url or url == "a dialog"]

        other = context.new_page()  # has the cookie too
        other.goto(f"http://{HOST}:{hostile.server_port}/")
        other.wait_for_function("document.title.split('closed').length == 3")
        assert "read" not in other.title()
    finally:
        context.close()
        hostile.shutdown()
        hostile.server_close()
        viewer.close()
