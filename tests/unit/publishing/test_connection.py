"""What a user is told when Tiled refuses or is not there, and that no key is ever shown."""

import httpx
import pytest

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.connection import child, connect, split_key, tiled_errors

URI = "http://127.0.0.1:9/api/v1"


def test_the_key_is_split_off() -> None:
    assert split_key(f"{URI}?api_key=abc") == (URI, "abc")
    assert split_key(URI) == (URI, None)


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


@pytest.mark.parametrize("uri", ["http://127.0.0.1:abc", "http://[::1"])
def test_a_broken_address_is_told(uri: str) -> None:
    with pytest.raises(PublishingError, match="is no address of a Tiled tree") as raised:
        connect(f"{uri}?api_key=0secret0")
    assert uri in str(raised.value)
    assert "0secret0" not in str(raised.value)


class Container(dict[str, "Container"]):
    """A container in which another process creates the same child a moment earlier."""

    def __init__(self, status: int) -> None:
        self.status = status

    def create_container(self, key: str) -> None:
        if self.status == 409:
            self[key] = Container(self.status)
        response = httpx.Response(self.status, request=httpx.Request("POST", URI))
        response.raise_for_status()


def test_a_container_that_another_process_created_first_is_taken() -> None:
    root = Container(409)
    assert child(root, "calibrations", "probes") is root["calibrations"]["probes"]
    with pytest.raises(httpx.HTTPStatusError):
        child(Container(500), "calibrations")
