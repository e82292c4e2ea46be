"""What a user is told when Tiled refuses or is not there, and that no key is ever shown."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.connection import child, connect, split_key, tiled_errors

URI = "http://127.0.0.1:9/api/v1"


def test_the_key_is_split_off() -> None:
    assert split_key(f"{URI}?api_key=abc") == (URI, "abc")
    assert split_key(URI) == (URI, None)
    assert split_key("https://user:word@host/tree?api_key=abc#x") == ("https://host/tree", "abc")


@pytest.mark.parametrize(("status", "sentence"), [(401, "refused the API key"), (500, "status 500")])
def test_a_refusal_names_the_server_but_not_the_key(status: int, sentence: str) -> None:
    request = httpx.Request("GET", f"{URI}?api_key=abc")
    error = httpx.HTTPStatusError("?api_key=abc", request=request, response=httpx.Response(status))
    with pytest.raises(PublishingError, match=sentence) as raised, tiled_errors(f"{URI}?api_key=abc"):
        raise error
    assert URI in str(raised.value)
    assert "abc" not in str(raised.value)


def test_nobody_there_is_told_at_once() -> None:
    with pytest.raises(PublishingError, match="cannot be reached") as raised:
        connect(f"{URI}?api_key=abc")
    assert "abc" not in str(raised.value)


@pytest.mark.parametrize("uri", ["", "scan.h5", "ftp://127.0.0.1", "http://127.0.0.1:abc", "http://[::1"])
def test_a_broken_address_is_told(uri: str) -> None:
    with pytest.raises(PublishingError, match="is no address of a Tiled tree") as raised:
        connect(f"{uri}?api_key=0secret0")
    assert uri in str(raised.value)
    assert "0secret0" not in str(raised.value)


class SomePage(BaseHTTPRequestHandler):
    """What a web server that is not Tiled answers."""

    body = b"<html>hello</html>"
    kind = "text/html"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", self.kind)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args: object) -> None:
        pass


class OtherInterface(SomePage):
    """The same, where it speaks JSON."""

    body = b'{"hello": 1}'
    kind = "application/json"


@pytest.fixture(params=[SomePage, OtherInterface])
def web_server(request: pytest.FixtureRequest) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), request.param) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_another_server_is_told_from_tiled(web_server: str) -> None:
    with pytest.raises(PublishingError, match="is no Tiled server") as raised:
        connect(f"{web_server}?api_key=0secret0")
    assert "0secret0" not in str(raised.value)


@pytest.mark.parametrize("key", ["abc\n", "a b", "ü"])
def test_what_cannot_be_a_key_is_not_sent(web_server: str, key: str) -> None:
    with pytest.raises(PublishingError, match="copy it again") as raised:
        connect(web_server, key)
    assert key not in str(raised.value)


class Container(dict[str, "Container"]):
    """A container in which another process creates the same child a moment earlier."""

    def __init__(self, status: int) -> None:
        self.status = status

    def create_container(self, key: str, *, specs: list[str]) -> None:
        if self.status == 409:
            self[key] = Container(self.status)
        response = httpx.Response(self.status, request=httpx.Request("POST", URI))
        response.raise_for_status()


def test_a_container_that_another_process_created_first_is_taken() -> None:
    root = Container(409)
    assert child(root, "calibrations", "probes") is root["calibrations"]["probes"]
    with pytest.raises(httpx.HTTPStatusError):
        child(Container(500), "calibrations")
