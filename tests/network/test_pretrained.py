import http.server
import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from cifar_core.data import download
from cifar_core.data.download import AlreadyRunning
from cifar_core.errors import WeightsError
from cifar_core.network import pretrained

ALPHA = 0.35


def write_h5(path: Path, alpha: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Write a file as Keras Applications has them, with the layer names of old; return its arrays by today's names."""
    rng = np.random.default_rng(seed)
    named = {name: rng.random(shape).astype(np.float32) for name, shape in pretrained.base_shapes(alpha).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        layers = list(dict.fromkeys(name.split("/")[0] for name in named))
        file.attrs["layer_names"] = [f"mobl_{number}" for number in range(len(layers))]
        for number, layer in enumerate(layers):
            group = file.create_group(f"mobl_{number}")
            own = {name.split("/")[1]: array for name, array in named.items() if name.split("/")[0] == layer}
            group.attrs["weight_names"] = [f"{variable}:0" for variable in own]
            for variable, array in own.items():
                group[f"{variable}:0"] = array
    return named


@pytest.fixture
def no_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "URL", "http://127.0.0.1:9/")  # nobody answers there
    monkeypatch.setattr(download, "answers", lambda url: False)


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the one that ships with the app, empty."""
    monkeypatch.setattr(pretrained, "BUNDLED_FOLDER", tmp_path / "bundled")
    (tmp_path / "bundled").mkdir()
    return tmp_path / "bundled"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files can be downloaded from where Keras has them."""
    folder = tmp_path / "server"
    folder.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(handler.func, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        monkeypatch.setattr(pretrained, "URL", f"http://127.0.0.1:{site.server_port}/")
        yield folder
        site.shutdown()


def test_random_weights_are_the_seeds(no_internet: None) -> None:
    one, again, other = (pretrained.load("random", ALPHA, 32, seed) for seed in (1, 1, 2))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert one.kind == "random"
    assert {name: array.shape for name, array in one.named.items()} == pretrained.base_shapes(ALPHA)
    assert all(array.dtype == np.float32 for array in one.named.values())


def test_a_fingerprint_tells_a_single_number_and_a_name() -> None:
    named = dict(pretrained.load("random", ALPHA, 32, 1).named)
    before = pretrained.fingerprint(named)
    assert pretrained.fingerprint(dict(reversed(named.items()))) == before
    changed = {**named, "Conv1/kernel": named["Conv1/kernel"].copy()}
    changed["Conv1/kernel"].flat[0] += 1e-6
    assert pretrained.fingerprint(changed) != before
    named["Conv2/kernel"] = named.pop("Conv1/kernel")
    assert pretrained.fingerprint(named) != before


@pytest.mark.parametrize(("image_size", "file_size"), [(32, 96), (64, 96), (96, 96), (128, 128), (224, 224)])
def test_imagenet_comes_from_the_file_that_serves_the_size(image_size: int, file_size: int, tmp_path: Path) -> None:
    path = pretrained.imagenet_path(ALPHA, image_size)
    assert path == tmp_path / "keras" / "models" / (
        f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_{file_size}_no_top.h5"
    )
    named = write_h5(path, ALPHA)
    loaded = pretrained.load("imagenet", ALPHA, image_size, 1)
    assert (loaded.kind, loaded.label) == ("imagenet", f"ImageNet (Keras, α 0.35, {file_size} px)")
    assert all(np.array_equal(loaded.named[name], named[name]) for name in named)
    assert list(loaded.named) == list(named)


@pytest.mark.parametrize("alpha", [1.3, 1.4])
def test_wide_networks_take_the_only_file_there_is(alpha: float) -> None:
    assert pretrained.imagenet_path(alpha, 96).name.endswith(f"_{alpha}_224_no_top.h5")


def test_a_copy_of_the_file_of_another_size_is_said(no_internet: None) -> None:
    write_h5(pretrained.imagenet_path(ALPHA, 224), ALPHA)
    shutil.copy(pretrained.imagenet_path(ALPHA, 224), pretrained.imagenet_path(ALPHA, 96))
    assert pretrained.load("imagenet", ALPHA, 96, 1).label.endswith("identical to that for 224 px")


def test_what_is_not_there_is_downloaded_once(server: Path) -> None:
    path = pretrained.imagenet_path(ALPHA, 96)
    named = write_h5(server / path.name, ALPHA)
    loaded = pretrained.load("auto", ALPHA, 96, 1)
    assert loaded.kind == "imagenet"
    assert loaded.fingerprint == pretrained.fingerprint(named)
    (server / path.name).unlink()
    assert pretrained.load("imagenet", ALPHA, 96, 1).fingerprint == loaded.fingerprint


@pytest.mark.parametrize("is_damaged", [False, True])
def test_while_another_process_downloads_it_is_waited_for(monkeypatch: pytest.MonkeyPatch, is_damaged: bool) -> None:
    asked = []
    if is_damaged:
        target = pretrained.imagenet_path(0.35, 96)
        target.parent.mkdir(parents=True)
        target.write_bytes(b"damaged")

    def fetch(url: str, path: Path, **_: object) -> None:
        asked.append(url)
        if len(asked) < 3:
            raise AlreadyRunning("a download is under way")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_h5(path, 0.35)

    monkeypatch.setattr(download, "fetch", fetch)
    monkeypatch.setattr(pretrained, "_POLL_SECONDS", 0)
    assert pretrained.load("auto", 0.35, 96, seed=1).kind == "imagenet"
    assert len(asked) == 3


@pytest.mark.parametrize("choice", ["imagenet", "bundled"])
def test_a_choice_by_name_is_never_replaced(choice: str, no_internet: None, bundled: Path) -> None:
    with pytest.raises(WeightsError, match=r"(?s)0\.35.*'random'"):
        pretrained.load(choice, ALPHA, 96, 1)


def test_auto_takes_the_best_there_is(no_internet: None, bundled: Path) -> None:
    def kinds() -> tuple[str, str]:
        return pretrained.load("auto", ALPHA, 32, 1).kind, pretrained.expected_kind("auto", ALPHA, 32)

    assert kinds() == ("random", "random")
    np.savez(pretrained.bundled_path(ALPHA), **pretrained.load("random", ALPHA, 32, 3).named)
    assert kinds() == ("bundled", "bundled")
    write_h5(pretrained.imagenet_path(ALPHA, 32), ALPHA)
    assert kinds() == ("imagenet", "imagenet")


def test_bundled_weights_are_the_files(bundled: Path) -> None:
    named = pretrained.load("random", ALPHA, 32, 3).named
    half = {name: array.astype(np.float16) for name, array in named.items()}
    np.savez(pretrained.bundled_path(ALPHA), **half)
    loaded = pretrained.load("bundled", ALPHA, 32, 1)
    assert loaded.fingerprint == pretrained.fingerprint(
        {name: array.astype(np.float32) for name, array in half.items()}
    )
    assert "CIFAR-10" in loaded.label


def test_what_cannot_be_had_is_said_without_a_download(no_internet: None, bundled: Path) -> None:
    assert "cannot be downloaded" in (pretrained.unavailable_reason("imagenet", ALPHA, 96) or "")
    assert "no bundled model of width 0.35" in (pretrained.unavailable_reason("bundled", ALPHA, 96) or "")
    for alpha in (ALPHA, 1.4):  # "auto" is then random, whatever the width
        assert pretrained.unavailable_reason("auto", alpha, 96) is None
    assert pretrained.unavailable_reason("random", ALPHA, 96) is None
    write_h5(pretrained.imagenet_path(ALPHA, 96), ALPHA)
    assert pretrained.unavailable_reason("imagenet", ALPHA, 96) is None


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"<html>not found</html>"])
def test_a_damaged_file_is_a_sentence(content: bytes, no_internet: None) -> None:
    path = pretrained.imagenet_path(ALPHA, 96)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"{path.name}.*delete it"):
        pretrained.load("imagenet", ALPHA, 96, 1)


def test_a_file_cut_short_or_of_another_width_is_a_sentence(no_internet: None) -> None:
    path = pretrained.imagenet_path(ALPHA, 96)
    write_h5(path, 0.5)
    with pytest.raises(WeightsError, match=r"width 0\.35; delete it"):
        pretrained.load("imagenet", ALPHA, 96, 1)
    write_h5(path, ALPHA)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=path.name):
        pretrained.load("imagenet", ALPHA, 96, 1)


@pytest.mark.parametrize("content", [b"<html>log in</html>", b"\x89HDF\r\n\x1a\n and no more"])
def test_a_login_page_is_not_taken_for_weights(content: bytes, server: Path, bundled: Path) -> None:
    path = pretrained.imagenet_path(ALPHA, 96)
    (server / path.name).write_bytes(content)
    with pytest.raises(WeightsError, match="login"):
        pretrained.load("imagenet", ALPHA, 96, 1)
    assert not path.exists()
    assert not list(path.parent.glob("*.part"))
    write_h5(server / path.name, ALPHA)
    assert pretrained.load("auto", ALPHA, 96, 1).kind == "imagenet"


def test_a_damaged_file_is_replaced_where_that_is_possible(server: Path) -> None:
    """As a login page that an earlier version took for the weights."""
    path = pretrained.imagenet_path(ALPHA, 96)
    path.parent.mkdir(parents=True)
    path.write_text("<html>log in</html>")
    named = write_h5(server / path.name, ALPHA)
    assert pretrained.load("auto", ALPHA, 96, 1).fingerprint == pretrained.fingerprint(named)


def test_a_folder_of_keras_that_refuses_names_its_own_setting(server: Path, tmp_path: Path) -> None:
    (tmp_path / "keras").touch()
    with pytest.raises(WeightsError, match="KERAS_HOME"):
        pretrained.load("imagenet", ALPHA, 96, 1)


def test_a_network_that_comes_back_is_noticed(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0)
    monkeypatch.setattr(download, "_answers", {pretrained.URL: (False, 0.0)})
    deadline = time.monotonic() + 20
    while not download.answers(pretrained.URL):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_network_is_looked_for_through_the_proxy(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", pretrained.URL)
    assert download.answers("http://nowhere.invalid/")


def test_another_file_of_that_format_is_a_sentence(no_internet: None) -> None:
    path = pretrained.imagenet_path(ALPHA, 96)
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["numbers"] = [1, 2]
    with pytest.raises(WeightsError, match=path.name):
        pretrained.load("imagenet", ALPHA, 96, 1)
