"""Projects on disk: what goes in, comes out and is refused."""

import json
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import corpus
import numpy as np
import pytest
from teach_pictures import drawn, png, zipped

from cifar_core import runs
from cifar_core.errors import ProjectError, RunError
from cifar_core.inference.pictures import Picture
from cifar_core.teach import project as projects


def from_zip(content: bytes) -> list[str]:
    projects.create("new")
    return projects.add("new", projects.by_folder([("new.zip", content)]))


def counts(name: str) -> dict[str, int]:
    return {label.name: len(label.samples) for label in projects.load(name).classes}


def test_a_zip_with_a_folder_for_each_class_makes_the_classes(two_kinds):
    assert from_zip(projects.pack(two_kinds)) == []
    assert counts("new") == {"stripes": 12, "spots": 12}
    assert projects.names() == ["kinds", "new"]


def test_settings_survive_a_zip(two_kinds):
    with projects.changed(two_kinds) as project:
        project.alpha, project.image_size, project.block, project.strength = 0.35, 128, 13, 10.0
    name, problems = projects.make("again", [("again.zip", projects.pack(two_kinds))])
    again = projects.load(name)
    assert problems == []
    assert (again.alpha, again.image_size, again.block, again.strength) == (0.35, 128, 13, 10.0)
    assert counts(name) == {"stripes": 12, "spots": 12}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"alpha": 7}', b'{"alpha": null}', b'{"classes": 1}', b" " * 10**6]
)
def test_settings_that_are_none_are_the_usual_ones(content):
    files = {"cup/1.png": png(drawn("spots", 1)), ".settings.json": content}
    name, problems = projects.make("odd", [("odd.zip", zipped(files))])
    assert problems == []
    assert projects.load(name).alpha == 0.5


def test_bursts_survive_a_zip():
    projects.create("kinds")
    for start in (0, 10):
        projects.add("kinds", [("cup", Picture("f.jpg", drawn("spots", start + n))) for n in range(3)], burst=True)
    assert [sample.burst for sample in projects.load("kinds").classes[0].samples] == [1, 1, 1, 2, 2, 2]
    from_zip(projects.pack("kinds"))
    assert [sample.burst for sample in projects.load("new").classes[0].samples] == [1, 1, 1, 2, 2, 2]


def test_a_burst_after_the_highest_number_of_a_zip_is_stored():
    name, _ = projects.make("kinds", [("a.zip", zipped({"cup/burst 999999, 1.png": png(drawn("spots", 1))}))])
    projects.add(name, [("cup", Picture("f.jpg", drawn("spots", 2)))], burst=True)
    assert [sample.burst for sample in projects.load(name).classes[0].samples] == [999_999, 1_000_000]


def test_settings_packed_by_another_method_or_among_too_many_files_are_not_read(monkeypatch):
    members = [("cup/1.png", png(drawn("spots", 1))), (".settings.json", b'{"alpha": 0.35}')]
    name, problems = projects.make(
        "odd", [("odd.zip", corpus.zipped(members, zipfile.ZIP_LZMA)), ("hat/1.png", members[0][1])]
    )
    assert (projects.load(name).alpha, counts(name), len(problems)) == (0.5, {"hat": 1}, 1)
    opened = []
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: opened.append(1))
    with pytest.raises(ProjectError, match="at most 5,000"):
        projects.make("many", [("many.zip", b"PK\x03\x04" + b"PK\x01\x02" * 5_001)])
    assert opened == []


def test_a_project_that_cannot_be_filled_is_not_kept(monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ProjectError, match="No space left"):
        projects.make("cups", [("cup/1.png", png(drawn("spots", 1)))])
    assert projects.names() == []


def test_a_project_that_cannot_be_filled_replaces_no_deleted_one(two_kinds, tmp_path):
    projects.delete(two_kinds)
    with pytest.raises(ProjectError, match="No picture"):
        projects.make(two_kinds, [("notes.txt", b"none")])
    projects.create(two_kinds)
    with pytest.raises(ProjectError, match="again; move"):
        projects.restore(two_kinds)
    projects.folder(two_kinds).rename(tmp_path / "away")
    projects.restore(two_kinds)
    assert counts(two_kinds) == {"stripes": 12, "spots": 12}


def test_a_picture_that_was_added_again_is_put_back_once(two_kinds):
    first = projects.load(two_kinds).classes[0].samples[0]
    projects.put_back(two_kinds, "stripes", 0, {first: projects.content(two_kinds, first.key)})
    assert counts(two_kinds) == {"stripes": 12, "spots": 12}


def test_a_hostile_zip_leaves_nothing_outside_and_the_good_pictures_inside(tmp_path):
    problems = from_zip(
        zipped(
            {
                "../../escape/1.png": png(drawn("spots", 1)),
                "/etc/passwd/2.png": png(drawn("spots", 2)),
                "cup\\..\\x/3.png": png(drawn("spots", 3)),
                "<script>alert(1)</script>/4.png": png(drawn("spots", 4)),
                "loose.png": png(drawn("spots", 5)),
                "cup/bomb.png": bytes(70 * 2**20),
                "cup/words.png": b"no picture",
                "../../../up.png": png(drawn("spots", 6)),
            }
        )
    )
    assert counts("new") == {"escape": 1, "passwd": 1, "x": 1, "script>": 1}
    assert len(problems) == 4
    inside = runs.runs_dir() / "teach" / "new"
    assert {path.name for path in inside.iterdir()} == {"classes.json", "lock", "pictures"}
    assert all(len(path.name) == 20 and path.suffix == ".jpg" for path in (inside / "pictures").iterdir())
    assert not [path for path in tmp_path.rglob("*") if path.name in ("1.png", "2.png", "up.png")]


def test_more_classes_and_pictures_than_there_may_be_are_said_once(monkeypatch):
    many = {f"class {n}/{n}.png": png(drawn("spots", n, 8)) for n in range(25)}
    problems = from_zip(zipped(many))
    assert len(counts("new")) == projects.MOST_CLASSES
    assert len(problems) == 5
    monkeypatch.setattr(projects, "MOST_PICTURES", 22)
    again = [("class 0", Picture("a.png", drawn("stripes", n))) for n in range(5)]
    assert len(projects.add("new", again)) == 1
    assert len(projects.load("new").samples) == 22


def test_the_same_picture_twice_is_one_and_in_two_classes_two(two_kinds):
    again = [("spots", Picture("a.png", drawn("spots", 0))), ("stripes", Picture("a.png", drawn("spots", 0)))]
    assert len(projects.add(two_kinds, again)) == 1
    assert counts(two_kinds) == {"stripes": 13, "spots": 12}


def test_the_file_of_a_removed_picture_is_deleted_unless_another_class_has_it(two_kinds):
    def files() -> set[str]:
        return {path.stem for path in (projects.folder(two_kinds) / "pictures").iterdir()}

    shared, *others = (sample.key for sample in projects.load(two_kinds).classes[0].samples)
    with projects.changed(two_kinds) as project:
        project.classes[1].samples.append(projects.Sample(shared))
    projects.remove(two_kinds, "stripes", others[0])
    assert others[0] not in files() and {shared, *others[1:]} <= files()
    projects.remove(two_kinds, "stripes")
    assert files() == {sample.key for sample in projects.load(two_kinds).classes[0].samples}
    assert shared in files()


def test_a_picture_that_is_removed_while_it_is_added_again_has_its_file(two_kinds):
    key = projects.load(two_kinds).classes[0].samples[0].key

    def pictures():
        yield "stripes", Picture("a.png", drawn("stripes", 0))
        projects.remove(two_kinds, "stripes", key)

    assert projects.add(two_kinds, pictures()) == []
    assert counts(two_kinds) == {"stripes": 12, "spots": 12}
    assert projects.content(two_kinds, key)


def test_a_picture_of_a_class_too_many_leaves_no_file(two_kinds, monkeypatch):
    monkeypatch.setattr(projects, "MOST_CLASSES", 2)
    assert "left out" in projects.add(two_kinds, [("third", Picture("a.png", drawn("spots", 99)))])[0]
    assert len(list((projects.folder(two_kinds) / "pictures").iterdir())) == 24


def test_remove_rename_delete_and_restore(two_kinds):
    key = projects.load(two_kinds).classes[1].samples[0].key
    projects.remove(two_kinds, "spots", key)
    projects.rename(two_kinds, "spots", " blue/spots\n")
    assert counts(two_kinds) == {"stripes": 12, "blue-spots": 11}
    with pytest.raises(ProjectError, match="already"):
        projects.rename(two_kinds, "blue-spots", "stripes")
    with pytest.raises(ProjectError, match="dots"):
        projects.rename(two_kinds, "blue-spots", "..")
    projects.delete(two_kinds)
    assert projects.names() == []
    projects.restore(two_kinds)
    assert counts(two_kinds) == {"stripes": 12, "blue-spots": 11}
    projects.remove(two_kinds, "stripes")
    assert counts(two_kinds) == {"blue-spots": 11}
    for change in (lambda: projects.remove(two_kinds, "stripes"), lambda: projects.rename(two_kinds, "stripes", "x")):
        with pytest.raises(ProjectError, match="stripes"):  # an older tab still shows it
            change()
    assert counts(two_kinds) == {"blue-spots": 11}


@pytest.mark.parametrize("name", ["..", "a/b", "A", "", "x" * 41, ".deleted", "\ud800", "a\x00b", "-rf", "名", "a\n"])
def test_a_name_that_is_none_is_refused(name):
    for use in (projects.create, projects.load, projects.delete):
        with pytest.raises(ProjectError, match="expected a name"):
            use(name)
    assert runs.NAME_PATTERN.fullmatch(projects.free_name(name))


def test_a_free_name_is_a_name_that_is_not_taken(two_kinds):
    assert projects.free_name("Kinds!") == "kinds-2"
    with pytest.raises(ProjectError, match="already"):
        projects.create(two_kinds)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"classes": 3}',
        '{"alpha": 9}',
        '{"classes": [{"name": "a", "samples": [["../../x"]]}]}',
        '{"classes": [{"name": "a"}, {"name": "a"}]}',
        json.dumps({"classes": [{"name": str(n)} for n in range(21)]}),
        "[" * 100_000,
    ],
)
def test_a_damaged_project_is_a_sentence(two_kinds, content):
    (projects.folder(two_kinds) / "classes.json").write_text(content)
    with pytest.raises(ProjectError, match=r"classes\.json"):
        projects.load(two_kinds)
    with pytest.raises(ProjectError, match=r"classes\.json"), projects.changed(two_kinds):
        pass


def test_changed_bytes_of_a_project_are_read_or_refused_in_a_sentence(two_kinds):
    path, rng = projects.folder(two_kinds) / "classes.json", np.random.default_rng(1)
    whole = path.read_bytes()
    for _ in range(300):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            content[place] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            assert len(projects.load(two_kinds).samples) <= 24
        except ProjectError:
            continue


def test_two_who_add_at_once_lose_nothing(two_kinds):
    def add(start: int) -> None:
        for n in range(start, start + 5):
            projects.add(two_kinds, [("spots", Picture("a.png", drawn("spots", n)))])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(add, (100, 200, 300)))
    assert counts(two_kinds) == {"stripes": 12, "spots": 27}


def test_a_project_with_a_link_is_not_opened(two_kinds, tmp_path):
    (projects.folder(two_kinds) / "pictures" / "0123456789abcdef.jpg").symlink_to(tmp_path / "secret")
    with pytest.raises(ProjectError, match="link"):
        projects.load(two_kinds)


def test_a_full_disk_is_a_sentence(two_kinds, monkeypatch):
    monkeypatch.setenv("CIFAR_RUNS_GB", "0.000001")
    with pytest.raises(RunError, match="CIFAR_RUNS_GB"):
        projects.add(two_kinds, [("spots", Picture("a.png", drawn("spots", 99)))])


def test_a_thousand_pictures_take_seconds():
    files = [(f"kind {n % 5}/{n}.png", png(drawn("spots", n, 32))) for n in range(1_000)]
    projects.create("many")
    start = time.monotonic()
    assert projects.add("many", projects.by_folder(files)) == []
    assert time.monotonic() - start < 60
    assert len(projects.load("many").samples) == 1_000
