"""Files over HTTP from a server of ours that stalls, cuts and lies."""

import hashlib
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from models.catalogue import load_catalogue
from models.tools.download import Download, DownloadError
from tests import networks
from tests.services import BIN, run

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MODELS = BIN / "cityeye-models"


@contextmanager
def server(answer):
    """Serve on loopback; `answer(handler, begin, number)` writes the answer to the request of that number."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if "Range" in self.headers else 0
            asked.append(begin)
            self.close_connection = True
            answer(self, begin, len(asked))

        def log_message(self, *_):
            pass

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.daemon_threads = True
    thread = threading.Thread(target=serving.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}/model.onnx", asked
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()


def send(handler, begin, content=CONTENT, *, cut=None, said=None, partial=True):
    """Answer with a file from a byte on; `cut`: break off after so many bytes; `said`: lie about the length."""
    partial = partial and begin > 0
    part = content[begin:] if partial else content
    handler.send_response(206 if partial else 200)
    if partial:
        handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(said or len(part)))
    handler.end_headers()
    handler.wfile.write(part[:cut])


def status(handler, code):
    handler.send_response(code)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def stalling(handler, begin, number):
    if number > 1:
        send(handler, begin)
    else:
        send(handler, begin, cut=1000)
        handler.wfile.flush()
        time.sleep(1.0)  # a stall is real time to the socket: three times as long as the client waits


QUICK = Download(stall_s=0.3, pause=lambda _: None)


@pytest.mark.parametrize(
    ("answer", "begins"),
    [
        (lambda h, begin, _: send(h, begin), [0]),
        (lambda h, begin, n: send(h, begin, cut=200_000 if n == 1 else None), [0, 200_000]),
        (lambda h, begin, n: send(h, begin, cut=100_000 if n < 4 else None), [0, 100_000, 200_000, 300_000]),
        # a server that knows no ranges sends all of it again
        (lambda h, begin, n: send(h, begin, cut=200_000 if n == 1 else None, partial=False), [0, 200_000]),
        (lambda h, begin, n: send(h, begin) if n > 2 else status(h, 503), [0, 0, 0]),
        (stalling, [0, 1000]),
    ],
)
def test_a_file_comes_whole_however_often_it_breaks_off(tmp_path, answer, begins):
    told = []
    with server(answer) as (url, asked):
        download = Download(stall_s=0.3, pause=lambda _: None, progress=lambda here, whole: told.append((here, whole)))
        assert download.get(url, tmp_path / "model.onnx", SHA256, len(CONTENT)) == SHA256
    assert asked == begins
    assert (tmp_path / "model.onnx").read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda h, begin, _: send(h, begin, CONTENT[:-1] + b"!"), "expected a file with SHA-256"),
        (lambda h, begin, _: send(h, begin, CONTENT + b"more"), "expected at most 512000 bytes, the server has 512004"),
        (lambda h, _begin, _n: status(h, 404), "the server answers 404"),
        (lambda h, _begin, _n: status(h, 403), "the server answers 403"),
        (
            lambda h, begin, _: send(h, begin, b"", said=512_000),
            "the connection ended after 0 of 512000 bytes; tried 5",
        ),
        (lambda h, _begin, _n: status(h, 500), "the server answers 500; tried 5 times"),
    ],
)
def test_what_is_not_the_file_never_takes_its_name(tmp_path, answer, expected):
    with server(answer) as (url, _), pytest.raises(DownloadError, match=expected) as fault:
        QUICK.get(url, tmp_path / "model.onnx", SHA256, len(CONTENT))
    assert "\n" not in str(fault.value)
    assert not (tmp_path / "model.onnx").exists()


def test_a_server_that_sends_without_end_is_stopped(tmp_path):
    def answer(handler, _begin, _number):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(40):
            handler.wfile.write(CONTENT)

    with server(answer) as (url, _), pytest.raises(DownloadError, match="the server sends more"):
        QUICK.get(url, tmp_path / "model.onnx", SHA256, len(CONTENT))
    assert not list(tmp_path.iterdir())


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(tmp_path):
    kept = pytest.raises(DownloadError, match=r"300000 bytes are kept in .*model.onnx.part")
    with server(lambda h, begin, n: send(h, begin, cut=300_000) if n == 1 else status(h, 503)) as (url, _), kept:
        QUICK.get(url, tmp_path / "model.onnx", SHA256)
    with server(lambda h, begin, _: send(h, begin)) as (url, asked):
        QUICK.get(url, tmp_path / "model.onnx", SHA256)
    assert asked == [300_000]


def test_a_part_of_another_file_is_thrown_away(tmp_path):
    (tmp_path / "model.onnx.part").write_bytes(b"x" * 600_000)
    with server(lambda h, begin, _: status(h, 416) if begin else send(h, begin)) as (url, asked):
        QUICK.get(url, tmp_path / "model.onnx", SHA256)
    assert asked == [600_000, 0]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a.onnx", "/etc/passwd"])
def test_only_http_is_asked(tmp_path, url):
    with pytest.raises(DownloadError, match="http"):
        QUICK.get(url, tmp_path / "model.onnx", None)


def test_an_address_is_shown_without_its_secrets(tmp_path):
    with server(lambda h, _begin, _n: status(h, 404)) as (url, _), pytest.raises(DownloadError) as fault:
        QUICK.get(url.replace("127", "me:secret@127") + "?token=hidden", tmp_path / "model.onnx", None)
    assert "secret" not in str(fault.value)
    assert "hidden" not in str(fault.value)


@pytest.fixture
def small(tmp_path):
    """A small detector, as bytes."""
    return networks.end_to_end(tmp_path / "small.onnx", [(1.0, 1.0, 9.0, 9.0, 0.9, 0)]).read_bytes()


def folder(address):
    return address.rsplit("/", 1)[0]


def test_pull_asks_for_a_checksum_a_licence_and_an_address(tmp_path, small):
    place, sha256 = tmp_path / "models", hashlib.sha256(small).hexdigest()
    unverified = next(entry.name for entry in load_catalogue() if not entry.verified and entry.licence == "AGPL-3.0")

    def pull(*words):
        return run(MODELS, "pull", unverified, "--to", place, *words, CITYEYE_MIRROR="")

    with server(lambda h, begin, _: send(h, begin, small)) as (url, asked):
        for words, expected in [
            ((), "its licence must be accepted once: --accept AGPL-3.0"),
            (("--accept", "MIT"), "--accept AGPL-3.0"),
            (("--accept", "AGPL-3.0"), "give the checksum that you expect: --sha256"),
            (("--sha256", sha256), "no address is known"),
        ]:
            done = pull(*words)
            assert (done.returncode, expected in done.stderr) == (2, True), done.stderr
        assert asked == []
        # accepted above, once
        done = pull("--sha256", sha256, "--mirror", folder(url))
        assert done.returncode == 0, done.stderr
    assert (place / f"{unverified}.onnx").read_bytes() == small
    assert "AGPL-3.0" in done.stdout


@pytest.mark.parametrize(
    ("content", "expected"), [(b"no network at all" * 50, "expected an ONNX file"), (None, "this layout is not known")]
)
def test_what_is_no_detector_does_not_come_in(tmp_path, content, expected):
    if content is None:
        content = networks.fixed(tmp_path / "odd.onnx", np.zeros((1, 7, 7), np.float32)).read_bytes()
    sha256, place = hashlib.sha256(content).hexdigest(), tmp_path / "models"
    with server(lambda h, begin, _: send(h, begin, content)) as (url, _):
        done = run(MODELS, "pull", "yolox-tiny-416", "--to", place, "--sha256", sha256, "--mirror", folder(url))
    assert (done.returncode, expected in done.stderr) == (2, True), done.stderr
    assert not list(place.glob("*.onnx"))


def test_a_mirror_that_lies_is_told_and_the_catalogue_is_believed(tmp_path, small):
    place = tmp_path / "models"
    with server(lambda h, begin, _: send(h, begin, small)) as (url, _):
        done = run(MODELS, "pull", "yolo26n-384x640", "--to", place, "--accept", "AGPL-3.0", CITYEYE_MIRROR=folder(url))
    assert done.returncode == 2
    assert "expected a file with SHA-256 082d0525" in done.stderr
    assert not list(place.glob("*.onnx"))


def test_import_checks_before_it_takes_in(tmp_path, small, detectors):
    place = tmp_path / "models"
    environment = {"CITYEYE_MODELS": str(place)}
    done = run(MODELS, "import", tmp_path / "small.onnx", "--name", "stalls", **environment)
    assert (done.returncode, "not in the catalogue" in done.stdout) == (0, True), done.stderr
    assert (place / "stalls.onnx").read_bytes() == small
    done = run(MODELS, "import", tmp_path / "small.onnx", "--name", "yolo26n-640", **environment)
    assert (done.returncode, "is another file in the catalogue" in done.stderr) == (2, True)
    done = run(MODELS, "import", tmp_path / "small.onnx", "--sha256", "0" * 64, **environment)
    assert (done.returncode, "expected SHA-256 000" in done.stderr) == (2, True)
    (tmp_path / "cut.onnx").write_bytes((detectors / "yolox-nano-416.onnx").read_bytes()[:-1000])
    done = run(MODELS, "import", tmp_path / "cut.onnx", **environment)
    assert (done.returncode, "cut short or damaged" in done.stderr) == (2, True)
    done = run(MODELS, "import", detectors / "yolox-nano-416.onnx", **environment)
    assert (done.returncode, "the catalogue's yolox-nano-416, licence Apache-2.0" in done.stdout) == (0, True)
    (place / "yolo11n-640.onnx").write_bytes(small)
    done = run(MODELS, "verify", **environment)
    assert done.returncode == 1
    rows = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert rows["yolox-nano-416"] == "as the catalogue has it"
    assert rows["stalls"].startswith("not in the catalogue, SHA-256 ")
    assert rows["yolo11n-640"] == "NOT the catalogue's file of this name"


def test_info_tells_what_is_known(tmp_path, small):
    done = run(MODELS, "info", "yolox-s-640", CITYEYE_MODELS="")
    assert "state: unverified" in done.stdout.splitlines()
    done = run(MODELS, "info", tmp_path / "small.onnx", "--json")
    assert f'"sha256_of_file": "{hashlib.sha256(small).hexdigest()}"' in done.stdout
    (tmp_path / "small.onnx").write_bytes(small[:200])
    assert "cut short" in run(MODELS, "info", tmp_path / "small.onnx").stdout
    assert run(MODELS, "info", "nothing-at-all", CITYEYE_MODELS="").returncode == 2
