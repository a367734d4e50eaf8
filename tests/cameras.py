"""A camera for tests: GStreamer's RTSP server under Debian's own Python, looping an H.264 stream on loopback.

And the desk of a reader that has no process of its own.
"""

import subprocess
import time
from pathlib import Path

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
host, port, stream, user, password, shared = sys.argv[1:7]
server = GstRtspServer.RTSPServer.new()
server.set_address(host)
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch(
    '( multifilesrc location="%s" loop=true caps="video/x-h264,stream-format=byte-stream,framerate=10/1"'
    " ! h264parse ! identity sync=true ! rtph264pay name=pay0 pt=96 config-interval=1 )" % stream
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
        at: address and port.
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
        at=None,
    ) -> None:
        probe = 'import gi; gi.require_version("GstRtspServer", "1.0")'
        if subprocess.run(["/usr/bin/python3", "-c", probe], capture_output=True, check=False).returncode:
            pytest.skip("needs GStreamer's RTSP server (deploy/setup.sh tools)")
        folder.mkdir(parents=True, exist_ok=True)
        stream = clips.write(
            folder / "street.h264", frame, seconds, gop=10, container="h264", threads=1 if anew else None
        )
        script = folder / "server.py"
        script.write_text(SERVER)
        host, port = at or ("127.0.0.1", services.free_port())
        self.url = f"rtsp://{host}:{port}/street"
        command = ["/usr/bin/python3", script, host, port, stream, user, password, "" if anew else "1"]
        super().__init__(command, folder / "camera.log", port, host)


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
