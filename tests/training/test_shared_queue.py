"""The two sides of an offer, and what they do with rows that this program does not write. Nothing is trained here."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from filelock import FileLock

from cifar_core import jobs, machine, runs
from cifar_core.config import TrainConfig
from cifar_core.data import download
from cifar_core.errors import RunError
from cifar_core.jobs import Stopped
from cifar_core.runs import Run
from cifar_core.search.studies import STORAGE_VARIABLE
from cifar_core.training import shared_queue, worker
from cifar_core.training.run_writer import RunWriter
from cifar_core.training.shared_queue import Channel, Ended, Gone, Offer

Ask = Callable[..., list]
ODD = (
    '["auto", "random", 0.35, 32, "cifar10", "random"]',  # this machine has synthetic images
    '["auto", "auto", 0.35, 32, "generated", "imagenet"]',  # and no ImageNet weights
    "auto",
    '["auto"]',
    '[[], {}, "x", null, 1, 1]',
    "[" * 10_000,
)
TAKE = "UPDATE cifar_offers SET worker = 'w', worker_seen = clock_timestamp() RETURNING id"


@pytest.fixture
def ask(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Asks the database, which holds no offers at first."""
    monkeypatch.setattr(shared_queue, "POLL_SECONDS", 0)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS cifar_files, cifar_offers")
        with shared_queue.database(database):
            pass

        def asked(query: str, *values: object) -> list:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

        yield asked


@pytest.fixture
def offer(database: str, ask: Ask, run: Run) -> Offer:
    """That of `run`, made."""
    made = Offer(database, run, RunWriter(run))
    made.look()
    return made


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder of the run on the worker's machine."""
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


@pytest.fixture
def elsewhere(database: str, ask: Ask, offer: Offer, there: Path) -> Channel:
    """The worker's side of `offer`, which it has taken."""
    channel = Channel(database, there, ask(TAKE)[0][0], is_home=False)
    channel.exchange()
    return channel


def test_files_come_to_the_worker_and_what_changes_there_comes_back(
    offer: Offer, elsewhere: Channel, run: Run, there: Path, ask: Ask
) -> None:
    assert [path.name for path in there.iterdir()] == ["config.json"]
    runs.write_json(there / "status.json", {"state": "finished", "pid": 1, "result": {"best_epoch": 3}})
    for name in ("metrics.jsonl", "checkpoint.npz", "worker.log"):
        (there / name).write_bytes(os.urandom(1_000))
    elsewhere.exchange()
    with pytest.raises(Ended, match="finished"):
        offer.look()
    for name in ("metrics.jsonl", "checkpoint.npz", "worker.log", "config.json"):
        assert (run.path / name).read_bytes() == (there / name).read_bytes()
    status = runs.read_json(run.path / "status.json")
    assert (status["state"], status["pid"], status["result"]) == ("finished", os.getpid(), {"best_epoch": 3})
    assert ask("SELECT * FROM cifar_files") == []
    assert not list(run.path.glob(".*"))


def test_who_has_started_a_run_and_its_name_stay_at_home(database: str, ask: Ask, run: Run, there: Path) -> None:
    runs.write_json(run.path / "owner.json", {"id": "1"})
    runs.write_json(run.path / "labels.json", {"name": "x"})
    Offer(database, run, RunWriter(run)).look()
    assert ask("SELECT name FROM cifar_files") == [("config.json",)]


def test_only_the_first_in_the_queue_is_offered(database: str, ask: Ask, run: Run, tiny_config: TrainConfig) -> None:
    second = runs.create(tiny_config)
    late, early = (Offer(database, one, RunWriter(one)) for one in (second, run))
    late.look()
    assert ask("SELECT run FROM cifar_offers") == []
    early.look()
    late.look()
    assert ask("SELECT run FROM cifar_offers") == [(run.id,)]
    early.withdraw()
    assert ask("SELECT run FROM cifar_offers") == []


def test_a_run_that_is_taken_is_not_trained_at_home(offer: Offer, elsewhere: Channel) -> None:
    assert not offer.withdraw(if_free=True)
    assert elsewhere.exchange()
    assert offer.withdraw()
    with pytest.raises(Gone):
        elsewhere.exchange()


def test_a_stop_ends_the_offer(offer: Offer, elsewhere: Channel, run: Run) -> None:
    (run.path / "stop").touch()
    with pytest.raises(Stopped):
        offer.look()


def test_a_silent_worker_loses_the_run(
    offer: Offer, elsewhere: Channel, run: Run, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_queue, "GRACE_SECONDS", 0.2)
    offer.look()
    assert runs.read_json(run.path / "status.json")["state"] == "queued"
    assert ask("SELECT * FROM cifar_offers") == []


@pytest.mark.parametrize("name", ["config.json", "owner.json", "../x.json", "lock", "stop", ".x.json", "a/b.npz", ""])
def test_a_file_that_no_training_writes_is_a_sentence(
    name: str, offer: Offer, elsewhere: Channel, run: Run, ask: Ask
) -> None:
    before = sorted(path.name for path in runs.runs_dir().rglob("*"))
    ask("INSERT INTO cifar_files (offer, from_home, name, content) SELECT id, false, %s, 'x' FROM cifar_offers", name)
    with pytest.raises(RunError, match="expected a file that a training writes"):
        offer.look()
    assert sorted(path.name for path in runs.runs_dir().rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"state": "odd"}', b"[" * 100_000, b"{}"])
def test_a_damaged_status_is_a_sentence(content: bytes, offer: Offer, elsewhere: Channel, ask: Ask) -> None:
    query = "INSERT INTO cifar_files (offer, from_home, name, content) SELECT id, false, 'status.json', %s"
    ask(f"{query} FROM cifar_offers", content)
    with pytest.raises(RunError, match="status is damaged"):
        offer.look()


def test_tables_of_another_program_are_a_sentence_and_the_run_fails_with_it(
    database: str, ask: Ask, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("ALTER TABLE cifar_offers DROP COLUMN needs")
    monkeypatch.setenv(STORAGE_VARIABLE, database)
    with FileLock(runs.runs_dir() / worker.SLOT):
        assert worker.train_run(run, RunWriter(run)) == "failed"
    assert "drop them, or name another database" in run.status["error"]["message"]


def test_a_worker_leaves_what_is_no_run_and_what_it_has_no_images_for(
    database: str, ask: Ask, run: Run, small_data: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    started: list[Run] = []
    monkeypatch.setattr(download, "answers", lambda url: False)
    monkeypatch.setattr(jobs, "spawn_worker", started.append)
    monkeypatch.setattr(shared_queue, "POLL_SECONDS", 0)
    monkeypatch.setattr(shared_queue, "RETRY_SECONDS", 0)
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(runs.runs_dir() / ".worker"))
    runs.runs_dir().mkdir()
    able = shared_queue.needs("auto", "random", 0.35, 32)
    for name, needs in (("../x", able), (run.id, able), *((run.id, text) for text in ODD)):
        ask("INSERT INTO cifar_offers (run, needs) VALUES (%s, %s)", name, needs)
    for _ in range(len(ODD)):
        shared_queue._serve(database, threading.Event())
    assert ask("SELECT worker FROM cifar_offers ORDER BY id OFFSET 2") == [(None,)] * len(ODD)
    told = capsys.readouterr().out
    assert "is not the id of a run" in told and "no usable config.json" in told
    assert started == []


def test_a_dead_home_is_not_served(database: str, offer: Offer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    ask("UPDATE cifar_offers SET home_seen = home_seen - interval '1 minute'")
    monkeypatch.setattr(shared_queue, "_train", lambda *_: pytest.fail("it is trained"))
    shared_queue._serve(database, threading.Event())


def test_a_run_with_a_teacher_of_this_machine_is_not_offered(
    database: str, tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, database)
    for teacher, expected in (("20261128-231257880-standard", False), ("bundled", True), ("", True)):
        run = runs.create(replace(tiny_config, teacher=teacher))
        with shared_queue.offered(run, RunWriter(run)) as offer:
            assert bool(offer) is expected
    monkeypatch.setenv(STORAGE_VARIABLE, "")
    with shared_queue.offered(run, RunWriter(run)) as offer:
        assert offer is None


def test_what_a_run_needs_tells_images_apart(small_data: Path) -> None:
    assert shared_queue.needs("auto", "random", 0.35, 32) == '["auto", "random", 0.35, 32, "generated", "random"]'


def full_disk(source: Path, target: Path) -> None:
    raise OSError(28, "No space left on device", str(target))


def test_a_full_disk_at_home_is_a_sentence_and_ends_the_offer(
    database: str, ask: Ask, run: Run, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, database)
    really_look, channels = Offer.look, list[Channel]()

    def look(offer: Offer) -> None:
        if not channels and ask("SELECT * FROM cifar_offers"):
            channels.append(Channel(database, there, ask(TAKE)[0][0], is_home=False))
            channels[0].exchange()
            (there / "metrics.jsonl").write_text("{}\n")
            channels[0].exchange()
            monkeypatch.setattr(machine, "replace", full_disk)
        really_look(offer)

    monkeypatch.setattr(Offer, "look", look)
    with FileLock(runs.runs_dir() / worker.SLOT):
        assert worker.train_run(run, RunWriter(run)) == "failed"
    assert "The disk is full" in run.status["error"]["message"]
    with pytest.raises(Gone):
        channels[0].exchange()


def test_a_worker_whose_disk_is_full_leaves_the_run_to_others(
    database: str, offer: Offer, small_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(tmp_path / "worker"))
    runs.runs_dir().mkdir()
    monkeypatch.setattr(shared_queue, "RETRY_SECONDS", 0)
    monkeypatch.setattr(machine, "replace", full_disk)
    shared_queue._serve(database, threading.Event())
    assert "No space left on device" in capsys.readouterr().out
    assert runs.list_runs() == []
