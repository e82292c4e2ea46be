"""What a user is told when Tiled refuses or is not there, and that no key is ever shown."""

import httpx
import pytest

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.connection import connect, split_key, tiled_errors

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
