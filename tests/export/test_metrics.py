"""Metrics in other tools' words, read back by these tools' own readers."""

import csv
import io
import json
import math
import zipfile

import pytest

from cifar_core.export.metrics import to_csv, to_json, to_tensorboard


def test_csv_has_a_line_for_each_step_and_epoch(finished_run) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(finished_run).decode())))
    assert [line["kind"] for line in lines] == ["step", "epoch"] * 4
    assert lines[0]["loss"] == "1.5"
    assert lines[0]["validation_loss"] == ""
    assert lines[1]["validation_accuracy"] == "0.5"
    assert lines[1]["validation_cross_entropy"] == "0.8"


def test_json_has_all_that_is_known(finished_run) -> None:
    found = json.loads(to_json(finished_run))
    assert found["id"] == finished_run.id
    assert found["config"] == finished_run.config.to_dict()
    assert found["result"]["best_epoch"] == 2
    assert len(found["rows"]) == 8


def test_a_loss_that_is_no_number_leaves_the_json_readable(finished_run) -> None:
    rows = finished_run.metrics()
    rows[1]["validation_loss"] = math.nan
    (finished_run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = json.loads(to_json(finished_run), parse_constant=pytest.fail)
    assert found["rows"][1]["validation_loss"] is None


def test_tensorboard_s_reader_reads_the_event_files(finished_run, tmp_path) -> None:
    from tensorflow.python.summary.summary_iterator import summary_iterator

    with zipfile.ZipFile(io.BytesIO(to_tensorboard(finished_run))) as archive:
        names = sorted(archive.namelist())
        archive.extractall(tmp_path)
    assert [name.split("/")[:2] for name in names] == [[finished_run.id, "training"], [finished_run.id, "validation"]]
    read = []
    for name in names:
        version, *events = summary_iterator(str(tmp_path / name))
        assert version.file_version == "brain.Event:2"
        read.append([(e.step, {v.tag: round(v.simple_value, 4) for v in e.summary.value}) for e in events])
    training, validation = read
    assert [step for step, _ in training] == [5, 15, 25, 35]
    assert training[0][1] == {
        "loss": 1.5,
        "cross_entropy": 1.2,
        "accuracy": 0.4,
        "learning_rate": 0.001,
        "images_per_second": 900.0,
    }
    assert validation == [(step, {"loss": 1.0, "cross_entropy": 0.8, "accuracy": 0.5}) for step in (10, 20, 30, 40)]


def test_found_by_mutation_a_row_without_its_time(finished_run) -> None:
    rows = [{key: value for key, value in row.items() if key != "elapsed_seconds"} for row in finished_run.metrics()]
    (finished_run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with zipfile.ZipFile(io.BytesIO(to_tensorboard(finished_run))) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert contents and all(contents)
