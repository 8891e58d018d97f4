"""A project becomes a model: features are kept, files agree with it."""

import numpy as np
import pytest
from teach_pictures import cup_or_hand, drawn, photo_crop

from cifar_core.errors import ConfigError, ProjectError
from cifar_core.inference.pictures import Picture
from cifar_core.network.litert import Network
from cifar_core.teach import model as models
from cifar_core.teach import project as projects


@pytest.fixture
def model(two_kinds):
    return models.open_model(two_kinds)


def test_two_kinds_are_told_apart_and_the_answer_has_its_nearest_pictures(model):
    assert model.backbone.kind == "random"
    assert model.fit.held_out.accuracy > 0.9
    for number, kind in enumerate(("stripes", "spots")):
        found = model.answer(drawn(kind, 99))
        assert found.probabilities.argmax() == number
        assert {label for label, _, _ in found.nearest} == {kind}
    figures = model.figures()
    assert figures["id"] == "teach/kinds" and figures["classes"] == {"stripes": 12, "spots": 12}


@pytest.mark.bundled
@pytest.mark.parametrize(
    ("classes", "picture"),
    [
        ({"cup": "cup", "hand": "hand"}, cup_or_hand),
        ({"cup": "coffee", "cat": "chelsea", "person": "astronaut"}, photo_crop),
    ],
    ids=["drawn", "photos of scikit-image"],
)
def test_cup_and_hand_are_learned_from_ten_pictures_each(classes, picture):
    pytest.importorskip("skimage")
    projects.create("things")
    pairs = [(name, Picture(f"{n}.png", picture(of, n))) for name, of in classes.items() for n in range(10)]
    assert projects.add("things", pairs) == []
    found = models.open_model("things")
    assert found.backbone.kind == "bundled" and found.fit.held_out.accuracy >= 0.9
    new = [(number, picture(of, 100 + n)) for number, of in enumerate(classes.values()) for n in range(10)]
    assert np.mean([found.answer(photo).probabilities.argmax() == number for number, photo in new]) >= 0.9


def test_the_evidence_is_where_the_thing_is(model, monkeypatch):
    half = drawn("spots", 5, 96)
    half.paste((128, 128, 128), (0, 0, 48, 96))

    def blue(fit, features):  # of mean pixels, in place of features
        share = 1.5 * features[:, 2] / features.sum(axis=1)
        return np.stack([1 - share, share], axis=1)

    monkeypatch.setattr(models.fits.Fit, "probabilities", blue)
    monkeypatch.setattr(
        models.Backbone, "features", lambda self, images: {"block_18": images.mean(axis=(1, 2), dtype=np.float64)}
    )
    heat = np.asarray(model.evidence(half), float)
    green = heat[..., 1] - heat[..., 0]
    assert heat.shape == (320, 320, 3)
    assert green[:, 200:].mean() > green[:, :120].mean() + 20


def test_features_are_computed_once_for_each_network(two_kinds, model, monkeypatch):
    seen = []
    monkeypatch.setattr(models.Backbone, "features", lambda self, images: seen.append(len(images)))
    for block in (3, 18):
        with projects.changed(two_kinds) as project:
            project.block, project.strength = block, 3.0
        assert models.open_model(two_kinds).fit.held_out.accuracy > 0.5
    assert seen == []


def test_only_new_pictures_are_computed_and_few_get_changed_copies(two_kinds, model):
    asked = []
    projects.add(two_kinds, [("dots", Picture("a.png", drawn("spots", 50 + n, 96))) for n in range(3)])
    models.open_model(two_kinds, lambda done, total: asked.append(total))
    assert asked == [3 * (1 + models.COPIES)]


@pytest.mark.parametrize("damage", [b"", b"no zip", "cut"])
def test_damaged_features_are_computed_again(two_kinds, model, damage):
    path = projects.folder(two_kinds) / "features-0.5-96.npz"
    path.write_bytes(path.read_bytes()[:5000] if damage == "cut" else damage)
    np.testing.assert_allclose(
        models.open_model(two_kinds).fit.held_out.probabilities, model.fit.held_out.probabilities, atol=0.02
    )


def test_a_missing_or_damaged_picture_is_a_sentence(two_kinds):
    first, second = (sample.key for sample in projects.load(two_kinds).classes[0].samples[:2])
    pictures = projects.folder(two_kinds) / "pictures"
    (pictures / f"{first}.jpg").write_bytes(b"no picture")
    with pytest.raises(ProjectError, match="damaged"):
        models.open_model(two_kinds)
    projects.remove(two_kinds, "stripes", first)
    (pictures / f"{second}.jpg").unlink()
    with pytest.raises(ProjectError, match=second):
        models.open_model(two_kinds)


@pytest.mark.parametrize("block", [6, 18])
def test_files_agree_with_the_model(two_kinds, block):
    onnxruntime = pytest.importorskip("onnxruntime")
    with projects.changed(two_kinds) as project:
        project.block, project.image_size = block, 128
    model = models.open_model(two_kinds)
    pixels = np.stack([models.prepare(drawn("spots", n), side=128) for n in range(5)])
    expected = np.stack([model.answer(drawn("spots", n)).probabilities for n in range(5)])
    network = Network(model.export("litert"))
    np.testing.assert_allclose(network.run(pixels)["probabilities"], expected, atol=1e-3)
    session = onnxruntime.InferenceSession(model.export("onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["probabilities"], {"images": pixels})[0], expected, atol=1e-3)
    small = Network(model.export("litert-int8")).run(pixels)["probabilities"]
    assert (small.argmax(axis=1) == expected.argmax(axis=1)).all()
    page = model.export("html").decode()
    assert len(page) < 3_000_000 and '"classes": ["stripes", "spots"], "side": 128' in page
    with pytest.raises(ConfigError, match="expected one of"):
        model.export("keras")
