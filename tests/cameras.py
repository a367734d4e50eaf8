"""A camera for tests: GStreamer's RTSP server under Debian's own Python, looping an H.264 stream on loopback.

Its ONVIF beside it, and the desk of a reader that has no process of its own.
"""

import base64
import contextlib
import hashlib
import http.server
import re
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests import clips, services

SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
port, stream, user, password, shared, codec, fps = sys.argv[1:8]
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch(
    '( multifilesrc location="%s" loop=true caps="video/x-%s,stream-format=byte-stream,framerate=%s/1"'
    " ! %sparse ! identity sync=true ! rtp%spay name=pay0 pt=96 config-interval=1 )"
    % (stream, codec, fps, codec, codec)
)
factory.set_shared(bool(shared))
if user:
    auth = GstRtspServer.RTSPAuth.new()
    token = GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions.new()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)
for path in ("/street", "/stream1"):
    server.get_mount_points().add_factory(path, factory)
server.attach(None)
GLib.MainLoop().run()
"""


class RtspCamera(services.Process):
    """An RTSP camera that shows the rendered street.

    Args:
        folder: for its clip.
        user: who may look; empty: everybody.
        password: theirs.
        frame: what it shows at a time, seconds; another clip than the street's.
        seconds: of that.
        anew: whoever connects sees the clip from its beginning.
        codec: `h264` or `h265`.
        fps: pictures a second.
        more: of `clips.write`.
    """

    def __init__(
        self,
        folder: Path,
        user: str = "",
        password: str = "",
        frame=clips.street_frame,
        seconds=12,
        *,
        anew=False,
        codec="h264",
        fps=10,
        **more,
    ) -> None:
        probe = 'import gi; gi.require_version("GstRtspServer", "1.0")'
        if subprocess.run(["/usr/bin/python3", "-c", probe], capture_output=True, check=False).returncode:
            pytest.skip("needs GStreamer's RTSP server (deploy/setup.sh tools)")
        folder.mkdir(parents=True, exist_ok=True)
        container = {"h265": "hevc"}.get(codec, codec)
        made = {"gop": 10, "fps": fps, "codec": f"libx{codec[1:]}", "threads": 1 if anew else None} | more
        stream = clips.write(folder / f"street.{codec}", frame, seconds, container=container, **made)
        script = folder / "server.py"
        script.write_text(SERVER)
        port = services.free_port()
        self.url = f"rtsp://127.0.0.1:{port}/street"
        super().__init__(
            ["/usr/bin/python3", script, port, stream, user, password, "" if anew else "1", codec, fps],
            folder / "camera.log",
            port,
        )


class FakeDesk:
    """What a reader gets from outside, without a process of its own."""

    def __init__(self, monotonic=time.monotonic):
        self.monotonic = monotonic

    def sleep(self, seconds):
        raise AssertionError(f"nobody waits here, {seconds} s were asked for")

    def room(self, width, height):
        return np.empty((height * 3 // 2, width), np.uint8)

    def fps(self):
        return 0.0


class Onvif(http.server.BaseHTTPRequestHandler):
    """A camera's web page, at `/onvif/device_service`; what is asked for, it tells as a camera of the field does."""

    def do_POST(self):
        told, asked = self.server.camera, self.rfile.read(int(self.headers["content-length"])).decode()
        at = datetime.now(UTC) + timedelta(seconds=told.off_s)
        status, body = 200, ""
        if "GetSystemDateAndTime" in asked:
            date = f"<tt:Year>{at.year}</tt:Year><tt:Month>{at.month}</tt:Month><tt:Day>{at.day}</tt:Day>"
            hour = f"<tt:Hour>{at.hour}</tt:Hour><tt:Minute>{at.minute}</tt:Minute><tt:Second>{at.second}</tt:Second>"
            body = f"<tt:UTCDateTime><tt:Time>{hour}</tt:Time><tt:Date>{date}</tt:Date></tt:UTCDateTime>"
        elif told.login and not self._let_in(asked, at):
            status, body = 400, "<s:Fault><s:Code><s:Subcode>ter:NotAuthorized</s:Subcode></s:Code></s:Fault>"
        elif "GetCapabilities" in asked:
            # it names the address that it has on the other side of a router
            media = f"http://10.255.0.1:{self.server.server_port}/onvif/media"
            body = f"<tds:Capabilities><tt:Media><tt:XAddr>{media}</tt:XAddr></tt:Media></tds:Capabilities>"
        elif "GetProfiles" in asked and self.path == "/onvif/media":
            body = "".join(
                f'<trt:Profiles token="{token}&amp;"><tt:VideoSourceConfiguration><tt:SourceToken>{source}'
                f"</tt:SourceToken></tt:VideoSourceConfiguration><tt:Encoding>{codec}</tt:Encoding><tt:Resolution>"
                f"<tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution></trt:Profiles>"
                for token, source, codec, width, height in PROFILES
            )
        elif "GetStreamUri" in asked:
            body = f"<tt:Uri>{told.uris.get(asked.partition('<ProfileToken>')[2][:3], '')}</tt:Uri>"
        names = "".join(f' xmlns:{name}="http://www.onvif.org/{where}"' for name, where in NAMES.items())
        self.send_response(status)
        self.end_headers()
        soap = f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"{names}><s:Body>{body}</s:Body>'
        self.wfile.write(f"{told.before}{soap}</s:Envelope>".encode())

    def _let_in(self, asked, at):
        """As WS-UsernameToken says: a digest of nonce, time and password, and a time within seconds of its own."""
        user, digest, nonce, created = (
            (re.search(rf"<\w:{name}\b[^>]*>([^<]*)<", asked) or ("", ""))[1]
            for name in ("Username", "Password", "Nonce", "Created")
        )
        good = hashlib.sha1(base64.b64decode(nonce) + created.encode() + self.server.camera.login[1].encode())  # noqa: S324 - as the standard has it
        late = abs((datetime.fromisoformat(created) - at).total_seconds()) if created else 99
        return (user, digest) == (self.server.camera.login[0], base64.b64encode(good.digest()).decode()) and late < 5

    def log_message(self, *_):
        """Quiet."""


NAMES = {"tt": "ver10/schema", "tds": "ver10/device/wsdl", "trt": "ver10/media/wsdl"}
PROFILES = (
    ("jpg", "one", "JPEG", 2560, 1440),
    ("sub", "one", "H264", 640, 360),
    ("top", "one", "H265", 1920, 1080),
    ("two", "other", "H264", 3840, 2160),
)


@contextlib.contextmanager
def onvif(monkeypatch, uris=(), login=(), off_s=0.0, before=""):
    """A camera that speaks ONVIF on loopback, where boxes look for it; yields its port.

    Args:
        uris: of its streams, by profile.
        login: user and password; empty: it asks for none.
        off_s: how far its clock is ahead.
        before: written before each answer.
    """
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Onvif) as server:
        server.camera = SimpleNamespace(uris=dict(uris), login=login, off_s=off_s, before=before)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setattr("agent.camera.onvif.WEB_PORTS", (server.server_port,))
        yield server.server_port
        server.shutdown()
