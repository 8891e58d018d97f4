"""*Teach* without a browser: classes, what was learned, what was tried."""

import base64
import re

import pytest
from app_pages import MARKUP, button, component, is_inert, open_app, press_tile, sound, texts, tiles_of, trigger
from streamlit.testing.v1 import AppTest
from teach_pictures import drawn, png, zipped

from cifar_core.data.cifar10 import CLASSES
from cifar_core.inference.pictures import Picture
from cifar_core.teach import project as projects
from pages.components import formatting

TEACH = "pages/teach.py"


@pytest.fixture
def kinds():
    projects.create("kinds")
    pairs = [(kind, Picture(f"{n}.png", drawn(kind, n))) for kind in ("stripes", "spots") for n in range(10)]
    projects.add("kinds", pairs)
    return "kinds"


def put(app: AppTest, key: str, **files: bytes) -> AppTest:
    """Upload files by an uploader whose key begins with `key`; "__" in a name is a dot."""
    uploader = next(one for one in app.file_uploader if re.fullmatch(rf"{key}_\d+", one.key))
    return sound(uploader.set_value([(n.replace("__", "."), c, "") for n, c in files.items()]).run())


def accuracy(app: AppTest) -> int:
    return int(re.search(r"### (\d+)% correct", texts(app.markdown))[1])


def url(kind: str, seed: int) -> str:
    return "data:image/png;base64," + base64.b64encode(png(drawn(kind, seed))).decode()


def test_from_the_empty_page_to_an_answer():
    app = sound(button(open_app(TEACH), "teach_start").click().run())
    assert projects.names() == ["my-classes"] and projects.load("my-classes").names == ["Class 1", "Class 2"]
    assert app.info
    for number, kind in enumerate(("stripes", "spots")):
        files = {f"{n}__png": png(drawn(kind, n)) for n in range(6)}
        app = put(app, f"teach_my-classes_{number}_files", **files, bad__png=b"none")
        assert "bad.png" in texts(app.warning).replace("\\", "")
    app = sound(app.text_input(key="teach_my-classes_1_name").set_value("spots").run())
    assert accuracy(app) == 100 and projects.load("my-classes").names == ["Class 1", "spots"]
    app = put(app, "teach_try", new__png=png(drawn("spots", 99)))
    assert re.search(r"### spots, \d+%", texts(app.markdown))
    near = [tile["title"] for tile in tiles_of(app, "teach_nearest")]
    assert len(near) == 4 and "spots" in near
    app = sound(app.toggle(key="teach_why").set_value(True).run())
    app = press_tile(app, "teach_samples", 0)
    assert any("<span>spots</span>" in block.body for block in app.get("html"))


def test_it_survives_a_new_session_and_the_address_names_the_project(kinds):
    projects.create("another")
    app = open_app(TEACH, project=kinds)
    assert app.selectbox(key="project").value == kinds and accuracy(app) == 100
    assert open_app(TEACH).selectbox(key="project").value == "another"


def test_a_slider_learns_again_and_what_was_tried_is_listed(kinds):
    app = open_app(TEACH)
    app = sound(app.select_slider(key="teach_block").set_value(6).run())
    assert projects.load(kinds).block == 6
    app = sound(app.select_slider(key="teach_strength").set_value(30.0).run())
    (table,) = [block.body for block in app.get("html") if "class=tried" in block.body]
    assert table.count("<tr") == 4 and table.count("class=now") == 1


def test_a_burst_is_one_and_a_picture_can_be_removed(kinds):
    app = open_app(TEACH)
    app = trigger(app, "teach_kinds_0_pictures", "frames", [url("stripes", n) for n in (50, 51, 50)])
    samples = projects.load(kinds).classes[0].samples
    assert [sample.burst for sample in samples[-2:]] == [1, 1] and len(samples) == 12
    assert "in the class already" in texts(app.warning)
    app = trigger(app, "teach_kinds_0_pictures", "remove", samples[-1].key)
    assert projects.load(kinds).classes[0].samples == samples[:-1]
    app = trigger(app, "teach_kinds_0_pictures", "remove", samples[-1].key)  # the second click of two
    sound(button(app, "undo_teach_deleted").click().run())
    assert projects.load(kinds).classes[0].samples == samples
    assert projects.image(kinds, samples[-1].key).size


@pytest.mark.parametrize("sent", ["x", None, [], [3], ["data:,"], [{"data": 1}], ["data:image/png;base64,!!"]])
def test_what_a_browser_sends_otherwise_does_nothing(kinds, sent):
    app = open_app(TEACH)
    for event in ("frames", "remove"):
        app = trigger(app, "teach_kinds_0_pictures", event, sent)
        app = trigger(app, "teach_live", event, sent)
    assert len(projects.load(kinds).samples) == 20


def test_a_live_frame_is_answered_and_asks_for_the_next(kinds):
    app = open_app(TEACH)
    before = component(app, "teach_live").json
    app = trigger(app, "teach_live", "frames", [url("stripes", 70)])
    assert "### stripes" in texts(app.markdown) and component(app, "teach_live").json != before


def test_of_many_photos_to_try_the_first_are_shown_and_the_rest_is_said(kinds):
    many = zipped({f"{n}.png": png(drawn("spots", n, 32)) for n in range(26)})
    app = put(open_app(TEACH), "teach_try", many__zip=many)
    assert len(tiles_of(app, "teach_photo_tiles")) == 24
    assert "At most 24 files" in texts(app.error)


def test_a_photo_that_was_tried_is_added_to_a_class(kinds):
    app = put(open_app(TEACH), "teach_try", new__png=png(drawn("spots", 99)))
    app = sound(button(app, "teach_add_to_0").click().run())
    assert [len(label.samples) for label in projects.load(kinds).classes] == [11, 10]
    nearest = tiles_of(app, "teach_nearest")[0]  # itself, as JPEG
    assert nearest["title"] == "stripes" and float(nearest["note"]) < 0.1
    sound(button(app, "teach_add_to_0_1").click().run())
    assert "in the class already" in texts(app.warning) and len(projects.load(kinds).samples) == 21


def test_a_zip_makes_a_project_and_a_hostile_one_a_sentence(kinds):
    app = open_app(TEACH)
    good = {f"{kind}/{n}.png": png(drawn(kind, n)) for kind in ("stripes", "spots") for n in range(3)}
    app = put(app, "teach_import", mine__zip=zipped(good | {"../1.png": png(drawn("spots", 9))}))
    assert app.selectbox(key="project").value == "mine" and len(projects.load("mine").samples) == 6
    assert "1.png" in texts(app.warning).replace("\\", "")
    for content in (b"", b"PK\3\4", zipped({"a.png": png(drawn("spots", 1))})):
        app = put(app, "teach_import", bad__zip=content)
        assert app.error
    assert projects.names() == ["kinds", "mine"]


def test_names_with_markup_are_text(kinds):
    projects.rename(kinds, projects.load(kinds).names[0], MARKUP)
    app = open_app(TEACH)
    app = trigger(app, "teach_live", "frames", [url("stripes", 70)])
    said = [mark.value for mark in app.markdown if "img src" in mark.value]
    assert said and all(is_inert(re.sub(r"^### |\*\*|^:orange\[:material/warning:\] ", "", one)) for one in said)
    assert not any("<img" in block.body for block in app.get("html"))


def test_a_damaged_or_missing_file_is_a_sentence_and_nothing_is_lost(kinds):
    key = projects.load(kinds).classes[0].samples[0].key
    (projects.folder(kinds) / "pictures" / f"{key}.jpg").unlink()
    app = open_app(TEACH)
    assert formatting.plain(key) in texts(app.info)
    app = trigger(app, "teach_kinds_0_pictures", "remove", key)
    assert accuracy(app) == 100
    (projects.folder(kinds) / "classes.json").write_text("{")
    app = open_app(TEACH)
    assert "classes.json" in texts(app.error).replace("\\", "")
    assert button(app, "teach_delete_project") is not None


def test_of_many_classes_columns_have_numbers_and_warnings_are_folded():
    projects.create("many")
    pairs = [(f"class {n}", Picture("a.png", drawn("spots", 10 * n + k))) for n in range(8) for k in range(3)]
    projects.add("many", pairs)
    app = open_app(TEACH)
    (table,) = [block.body for block in app.get("html") if "class=confusion" in block.body]
    assert "<th scope=col>8</th>" in table and "8 class 7</th>" in table
    assert any(re.fullmatch(r"\d+ more warnings", panel.label) for panel in app.expander)


def test_a_deleted_project_can_be_restored(kinds):
    app = sound(button(open_app(TEACH), "teach_delete_project").click().run())
    assert projects.names() == []
    app = sound(button(app, "teach_restore").click().run())
    assert projects.names() == [kinds]


def test_a_deleted_class_can_be_put_back(kinds):
    before = projects.load(kinds)
    app = sound(button(open_app(TEACH), "teach_kinds_0_delete").click().run())
    assert projects.load(kinds).names == ["spots"]
    app = sound(button(app, "undo_teach_deleted").click().run())
    assert projects.load(kinds) == before
    assert all(projects.content(kinds, sample.key) for label in before.classes for sample in label.samples)
    assert not [one for one in app.button if one.key == "undo_teach_deleted"]


def test_the_ten_of_cifar10_stand_beside_own_classes(kinds):
    app = sound(button(open_app(TEACH, project=kinds), "teach_add_ten").click().run())
    project = projects.load(kinds)
    assert project.names == ["stripes", "spots", *CLASSES]
    assert all(len(label.samples) >= 30 for label in project.classes[2:])  # one drawing may stand twice
    assert accuracy(app) > 10
    assert not [one for one in app.button if one.key == "teach_add_ten"]


def test_the_example_is_ready_at_once(monkeypatch):
    app = sound(button(open_app(TEACH), "teach_example").click().run())
    assert projects.load("example").names == ["airplane", "cat", "horse"] and accuracy(app) > 0
