import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_core.errors import CifarError, ImageError
from cifar_core.inference.decoding import open_picture
from cifar_core.search import studies
from cifar_core.teach import project as projects
from cifar_core.untrusted import shown_name


def empty_file_message(name):
    with pytest.raises(ImageError) as caught:
        open_picture(b"", name)
    return str(caught.value)


def test_names_in_messages_are_short_and_visible():
    message = empty_file_message("a\x00b\u202e\n\x1b[31m" + "x" * 5000 + ".png")
    assert len(message) < 200
    assert message.isprintable()
    assert ".png" in message


def test_names_with_markup_stay_text():
    name = '<img src=x onerror="alert(1)"> **bold** $x$'
    assert shown_name(name) == name
    assert name in empty_file_message(name)


@pytest.mark.parametrize("make", [lambda: studies.folder(""), lambda: projects.folder("")])
def test_an_empty_name_is_quoted_as_such(make):
    with pytest.raises(CifarError, match='""'):
        make()


@given(st.text(), st.integers(8, 100))
def test_shown_names_are_bounded_and_printable(name, limit):
    shown = shown_name(name, limit)
    assert 1 <= len(shown) <= max(limit, len("the file"))
    assert shown.isprintable()
