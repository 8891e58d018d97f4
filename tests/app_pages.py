"""The app's pages in a test: opened without a browser, with runs as a worker would have left them."""

import base64
import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from streamlit.components.v2.bidi_component.main import _make_trigger_id
from streamlit.proto.BidiComponent_pb2 import BidiComponent as ComponentProto
from streamlit.testing.v1 import AppTest

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.data.cifar10 import CLASSES
from cifar_core.inference import calibration
from cifar_core.runs import Run, write_json
from pages.components import address

APP = Path(__file__).resolve().parent.parent / "app.py"
TRAIN, CLASSIFY, EXPLORE = (f"pages/{name}.py" for name in ("train", "classify", "explore"))
CONFIG = TrainConfig(
    alpha=0.35, image_size=32, dense_units=16, weights="random", train_images=1_000, head_epochs=3, fine_tune_epochs=2
)
RESULT = {
    "validation_accuracy": 0.825,
    "test_accuracy": 0.8,
    "test_images": 1_000,
    "best_phase": "fine_tune",
    "best_epoch": 2,
    "elapsed_seconds": 75.0,
    "model_bytes": 1_900_000,
    "dataset": "generated images, not CIFAR-10",
    "weights": "random numbers (seed 1)",
}
MARKUP = "<img src=x onerror=alert(1)> **bold** [link](https://example.org) :red[red] $x$"
_FIGURE = re.compile(
    r"\d+ of 100 new pictures correct, [\d.]+% to [\d.]+%"
    r"|Test accuracy [\d.]+% of [\d,]+ images|Validation accuracy is [\d.]+%"
)
MARKDOWN_SIGNS = "*[]<>:$"


def open_app(page: str = "", **query: str | list[str]) -> AppTest:
    """Return the app after its first run, at `page` (Train if empty), as the address `query` asks."""
    app = AppTest.from_file(str(APP), default_timeout=30)
    app.session_state["all_settings"] = True  # as a click on the panel does
    if page:
        app.switch_page(page)
    app.query_params.update(query)
    return sound(app.run())


def open_explore(**query: str) -> AppTest:
    """Return *Explore* after its first run, as the address `query` asks."""
    return open_app(EXPLORE, **query)


def went_back(app: AppTest, **query: str) -> AppTest:
    """Return `app` after Back or Forward in the browser to the address `query`."""
    app.query_params.clear()
    app.query_params.update(query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(address, "is_history", lambda: True)
        return sound(app.run())


def sound(app: AppTest) -> AppTest:
    """Return `app`, which must not have crashed."""
    assert not app.exception, app.exception[0].message
    return app


def says_synthetic(app: AppTest) -> bool:
    """Whether the page says that images are synthetic, not CIFAR-10."""
    said = texts([*app.warning, *app.markdown, *app.caption]).replace("\\", "").lower()
    return "synthetic images, not cifar-10" in said


def figures_of(app: AppTest) -> set[str]:
    """The accuracies that a page states, in figures, headings and captions."""
    texts = [text.value for text in (*app.markdown, *app.caption)]
    return {f"{metric.label} {metric.value}" for metric in app.metric} | set(_FIGURE.findall("\n".join(texts)))


def make_run(state: str, rows: list[dict] | None = None, config: TrainConfig = CONFIG, **status) -> Run:
    """Write a run as its worker would have left it, at its end unless `rows` says otherwise."""
    run = runs.create(config, "test")
    write_json(run.path / "status.json", {"state": state, **status})
    rows = metrics(CONFIG.head_epochs, CONFIG.fine_tune_epochs) if rows is None else rows
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def make_finished_run(model: bytes, config: TrainConfig = CONFIG, **changes) -> Run:
    run = make_run("finished", config=config, result={**RESULT, **changes})
    (run.path / "model.tflite").write_bytes(model)
    (run.path / "summary.txt").write_text("block_16_project (Conv2D)")
    return run


def make_evaluated_run(model: bytes) -> Run:
    """A finished run on the generated images: every cat is taken for a dog, a quarter of the rest is wrong."""
    dataset = cifar10.load("generated")
    run = make_finished_run(model, validation_images=50)
    rows = np.arange(0, 100, 2)
    arrays = {"validation_rows": rows}
    for name, labels in (("validation", dataset.train_labels[rows]), ("test", dataset.test_labels)):
        answers = np.where(np.arange(len(labels)) % 4 == 3, (labels + 1) % 10, labels)
        answers[labels == CLASSES.index("cat")] = CLASSES.index("dog")
        said = np.full((len(labels), 10), 0.02, np.float32)
        said[np.arange(len(labels)), answers] = 0.82
        arrays |= {f"{name}_labels": labels, f"{name}_probabilities": said}
    np.savez(run.path / "evaluation.npz", **arrays)
    known = {
        "data": {"name": "generated", "label": "synthetic", "fingerprint": dataset.fingerprint},
        "weights": {"label": "random numbers", "fingerprint": "w"},
    }
    write_json(run.path / "environment.json", known)
    calibration.Calibration(2.0, 50, (0.1, 0.05), (1.0, 0.9)).save(run.path / calibration.FILE)
    return run


def metrics(head_epochs: int, fine_tune_epochs: int) -> list[dict]:
    rows = []
    for phase, epochs in (("head", head_epochs), ("fine_tune", fine_tune_epochs)):
        for epoch in range(1, epochs + 1):
            known = {"phase": phase, "epoch": epoch, "loss": 1.5, "accuracy": 0.5, "learning_rate": 1e-3}
            known |= {"images_per_second": 900.0, "seconds_left": 40.0, "elapsed_seconds": 60.0}
            rows += [{"kind": "step", "step": step, "steps": 4, **known} for step in (1, 2, 3, 4)]
            validation = {"validation_loss": 1.0, "validation_accuracy": 0.75, "images": 800, "epoch_seconds": 2.0}
            rows.append({"kind": "epoch", "epochs": epochs, **known, **validation})
    return rows


@contextlib.contextmanager
def living_worker(run: Run, obeys: bool = False):
    """Let another process hold the run's lock as its worker does; one that `obeys` ends when it is asked to stop."""
    wait = f"while not Path({str(run.path / 'stop')!r}).exists(): time.sleep(0.02)" if obeys else "sys.stdin.read()"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom filelock import FileLock\n"
        f"with FileLock({str(run.path / 'lock')!r}):\n    print('held', flush=True)\n    {wait}\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        try:
            assert worker.stdout.readline() == b"held\n"
            yield
        finally:
            worker.kill()


def charts_of(app: AppTest) -> dict[str, dict]:
    """Return the page's Plotly figures by the key of their element."""
    mounted = [found for found in app.get("bidi_component") if found.proto.component_name == "live_chart"]
    return {chart.key: json.loads(chart.proto.bytes)["figure"] for chart in mounted}


def bars_of(app: AppTest, place: int = 0) -> dict[str, float]:
    """Return the probabilities of the page's ten bars number `place`, in percent by class, the largest first."""
    blocks = [html.body for html in app.get("html") if "class='bars'" in html.body]
    return {
        name: float(share)
        for block in blocks[2 * place : 2 * place + 2]
        for name, share in re.findall(r"<span>(\w+)</span>.*?<span>([\d.]+)%</span>", block)
    }


def component(app: AppTest, key: str) -> ComponentProto:
    """Return what the page sends to the component `key`."""
    return next(found.proto for found in app.get("bidi_component") if found.key == key)


def tiles_of(app: AppTest, key: str) -> list[dict]:
    """Return the tiles of the component `key`, none where the page has none."""
    found = [element.proto for element in app.get("bidi_component") if element.key == key]
    return json.loads(found[0].json)["tiles"] if found else []


def trigger(app: AppTest, key: str, event: str, value: object) -> AppTest:
    """Let the component `key` send an event, as in a browser."""
    states = app._tree.get_widget_states()
    state = states.widgets.add()
    state.id = _make_trigger_id(component(app, key).id, "events")
    state.json_trigger_value = json.dumps([{"event": event, "value": value}])
    return sound(app._run(states))


def press_tile(app: AppTest, key: str, number: int) -> AppTest:
    """Click on a picture of the tiles `key`."""
    return trigger(app, key, "chosen", number)


def images_of(app: AppTest) -> list:
    """Return the page's images: `url`, `caption` and `alt` of each."""
    return [image for element in app.get("image") for image in element.proto.imgs]


def links_of(app: AppTest) -> dict[str, str]:
    """Return the page's links to pages: label -> the page's path and the address's query."""
    return {link.proto.label: f"{link.proto.page}?{link.proto.query_string}" for link in app.get("page_link")}


def numbers(values) -> list[float]:
    """Return the numbers of a trace, which Plotly may send in base 64."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return list(values)


def texts(elements) -> str:
    """Return what the elements say."""
    return "\n".join(str(element.value) for element in elements)


def is_inert(shown: str) -> bool:
    """Whether every sign of MARKUP that markdown would act upon is escaped."""
    rest = shown.replace("\\\\", "")
    for sign in MARKDOWN_SIGNS:
        rest = rest.replace("\\" + sign, "")
    return not any(sign in rest for sign in MARKDOWN_SIGNS)


def button(app: AppTest, key: str):
    """Return the button called `key`, None where the page has none."""
    return next((found for found in app.button if found.key == key), None)


def upload(app: AppTest, **files: bytes) -> AppTest:
    uploader = next(found for found in app.file_uploader if found.key.startswith("files_"))
    return sound(uploader.set_value([(n, c, "") for n, c in files.items()]).run())
