"""Pictures in a bucket, by a server on loopback that speaks S3."""

import urllib.request

import pytest
from moto.server import ThreadedMotoServer
from pydantic import ValidationError

from collector.evidence import store_check
from collector.evidence.files import open_files
from collector.evidence.retention import DAY_MS, retain
from collector.evidence.settings import EvidenceSection
from collector.inbox.writer import Writer
from collector.web.thumbnails import thumbnail
from tests.collector.conftest import Desk
from tests.incidents import START_S, Case, status


@pytest.fixture(scope="module")
def server():
    one = ThreadedMotoServer("127.0.0.1", 0)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def section(server, tmp_path):
    host, port = server.get_host_and_port()
    (tmp_path / "secret").write_text("s\n")
    return EvidenceSection(
        store="s3://pictures/here", endpoint=f"http://{host}:{port}", key_id="file:secret", key_secret="file:secret"
    )


@pytest.fixture
def bucket(section):
    """Made as its owner makes it."""
    urllib.request.urlopen(urllib.request.Request(f"{section.endpoint}/pictures", method="PUT"))  # noqa: S310 - loopback


def test_a_bucket_serves_as_a_folder_does(section, bucket, tmp_path):
    desk = Desk(tmp_path)
    files = open_files(section, tmp_path, tmp_path)
    desk.writer = Writer(desk.store, files, desk.change, lambda: desk.now_s)
    case = Case()
    desk.take(status(), case.picture(), case.opened(), case.cleared(START_S + 60))
    record, content = case.pictures[0]
    assert (files.read(record.sha256), files.has("0" * 64), desk.files.has(record.sha256)) == (content, False, False)
    assert [name for name, _ in files.names()] == [record.sha256]
    small = thumbnail(files, record.sha256, 160)
    assert desk.read(store_check.check, files) == []
    assert retain(desk.store, files, EvidenceSection(), round(START_S * 1000) + 91 * DAY_MS, tmp_path) == 1
    assert (files.has(record.sha256), small.exists()) == (False, False)
    with pytest.raises(FileNotFoundError):
        files.read(record.sha256)
    desk.store.close()


def test_while_the_storage_is_away_no_picture_is_acknowledged_or_lost(section, bucket, tmp_path):
    desk = Desk(tmp_path)
    there = open_files(section, tmp_path, tmp_path)
    away = open_files(section.model_copy(update={"endpoint": "http://127.0.0.1:9"}), tmp_path, tmp_path)
    case = Case(number=7)
    sent = [case.picture(number=7), case.opened()]
    desk.writer = Writer(desk.store, away, desk.change, lambda: desk.now_s)
    stored, refused, postponed = desk.take(*sent)
    assert (len(stored), refused, len(postponed)) == (1, [], 1)
    desk.writer = Writer(desk.store, there, desk.change, lambda: desk.now_s)
    assert len(desk.take(*sent)[0]) == 2
    assert there.read(case.pictures[0][0].sha256) == case.pictures[0][1]
    desk.store.close()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"store": "https://pictures"}, {"store": "s3://"}, {"endpoint": "http://center.example"}),
        *({"key_secret": "AKIASECRET"}, {"key_id": None}),
    ],
)
def test_an_impossible_storage_is_refused_and_no_secret_shown(section, wrong):
    with pytest.raises(ValidationError) as told:
        EvidenceSection.model_validate({**section.model_dump(), **wrong})
    assert "AKIASECRET" not in str([one["msg"] for one in told.value.errors()])
