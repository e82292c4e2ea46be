"""Digests that others can compute as well, and that nothing but a change changes."""

import hashlib

import numpy as np
import pytest

from ptycho_plugin.publishing.seal import (
    SERVED_AT_ONCE,
    array_sha256,
    plain,
    record_of,
    record_sha256,
    served_sha256,
)


def test_a_record_has_one_digest_in_any_order() -> None:
    digest = hashlib.sha256('{"a":{"b":1e-09,"µ":null},"c":[1,2]}'.encode()).hexdigest()
    assert record_sha256({"a": {"µ": None, "b": 1e-9}, "c": [1, 2]}) == digest
    assert record_sha256({"c": [1, 2], "a": {"b": 1e-9, "µ": None}}) == digest
    assert record_sha256({"c": [2, 1], "a": {"b": 1e-9, "µ": None}}) != digest


def test_a_record_is_as_tiled_keeps_it_and_without_the_seal() -> None:
    assert plain({"corner": (1, 2), "r_factor": float("nan")}) == {"corner": [1, 2], "r_factor": None}
    assert record_of({"frames": 3, "seal": {"reason": ""}}) == {"frames": 3}


def test_an_array_has_the_digest_of_its_bytes_in_c_order() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    assert array_sha256(array) == array_sha256(np.asfortranarray(array)) == digest
    assert array_sha256(array + np.float32(1e-6)) != digest


class Served:
    """An array as Tiled's client shows it, whose server gives rows by their slice, or an error."""

    def __init__(self, array: np.ndarray, status: int = 200) -> None:
        self.array, self.status, self.requests = array, status, 0
        self.shape, self.nbytes = array.shape, array.nbytes
        self.item = {"links": {"full": "full"}}
        self.context = self.http_client = self

    def get(self, link: str, params: dict[str, str], headers: dict[str, str]) -> "Served":
        self.requests += 1
        first, end = map(int, params["slice"].split(":"))
        self.content = self.array[first:end].tobytes()
        self.status_code = self.status
        return self


@pytest.mark.parametrize("rows", [0, 1, 3, 5])
def test_what_is_served_is_digested_in_parts(rows: int) -> None:
    array = np.arange(rows * SERVED_AT_ONCE // 4, dtype=np.int16).reshape(rows, SERVED_AT_ONCE // 4)
    served = Served(array)
    assert served_sha256(served) == array_sha256(array)
    assert served.requests == -(-rows // 2)
    assert served_sha256(Served(array, status=500)) is None or rows == 0
