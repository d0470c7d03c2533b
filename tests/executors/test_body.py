from decimal import Decimal

import pytest

from at_worker.executors.body import JSON_TYPE, TEXT_TYPE, Body, encode
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload


def test_no_data_is_an_empty_body_without_a_type() -> None:
    assert encode(None) == Body(b"", None)


@pytest.mark.parametrize(
    ("data", "content"),
    [
        ({"a": [1, None, True]}, b'{"a":[1,null,true]}'),
        ([], b"[]"),
        (12345678901234567890, b"12345678901234567890"),
        (Decimal("1.10"), b"1.10"),
        (False, b"false"),
        ({"ü": "☃"}, '{"ü":"☃"}'.encode()),
    ],
)
def test_what_is_no_string_is_sent_as_json_with_its_digits(data: Json, content: bytes) -> None:
    assert encode(data) == Body(content, JSON_TYPE)


@pytest.mark.parametrize("data", ["", "hello", "a\r\nb", "\x00", "grün ☃", "{'a': 1}", "9" * 5000])
def test_a_string_is_sent_raw_as_text(data: str) -> None:
    assert encode(data) == Body(data.encode(), TEXT_TYPE)


@pytest.mark.parametrize("data", ['{"a": 1.10}', " [1, 2]\n", "null", "7", '"text"'])
def test_a_string_that_is_json_is_sent_raw_as_json(data: str) -> None:
    assert encode(data) == Body(data.encode(), JSON_TYPE)


@pytest.mark.parametrize("data", ["\ud800", ["\udfff"], {"a": "\ud800"}, {"\ud800": 1}])
def test_a_lone_surrogate_names_the_field(data: Json) -> None:
    with pytest.raises(InvalidPayload, match="lone surrogate") as caught:
        encode(data)
    assert caught.value.field == "data"
