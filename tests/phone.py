"""A telephone before a box: the set-up page served in this process, and its calls over HTTPS."""

import contextlib
import http.client
import json
import ssl
import threading
import time

from agent.box.door import Door, state_dir_of
from agent.setup.certificate import certificate
from agent.setup.desk import Desk
from agent.setup.gate import Gate
from agent.setup.pages import Pages
from agent.setup.server import Server
from tests.services import wait_for


class Phone:
    """Calls as the page makes them, on loopback."""

    def __init__(self, port):
        self.port, self.cookie = port, ""

    def ask(self, method, path, body=None, **headers):
        """Status, headers and body of an answer."""
        trusting = ssl._create_unverified_context()  # noqa: S323 - as a telephone does once it was told so
        line = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=trusting)
        try:
            sent = {"Cookie": self.cookie, **({} if body is None else {"Content-Type": "application/json"}), **headers}
            line.request(method, path, body if isinstance(body, bytes | None) else json.dumps(body), sent)
            answer = line.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            line.close()

    def get(self, path):
        """What a good answer holds."""
        status, _, body = self.ask("GET", path)
        assert status == 200, body
        return json.loads(body)

    def post(self, path, **body):
        """The same of a call."""
        status, headers, told = self.ask("POST", path, body)
        assert status == 200, told
        self.cookie = headers.get("Set-Cookie", self.cookie).partition(";")[0]
        return json.loads(told)

    def job(self, name, **body):
        """The result of a call that takes a while."""
        self.post(f"/api/{name}", **body)
        found = wait_for(lambda: (job := self.get("/api/state")["job"])["done"] and job, name, 60)
        assert not found["fault"], found
        return found["result"]


@contextlib.contextmanager
def page(settings, **desk):
    """The set-up page of a box; yields a phone with the desk and the PIN behind it."""
    door = Door(state_dir_of(settings), time.time)
    door.begin()
    plate = door.plate
    path, _ = certificate(door.folder, f"cityeye-{plate.name}.local")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    made = Desk(settings, door, **desk)
    pages = Pages(made, Gate(plate.pin, time.monotonic), f"cityeye-{plate.name}.local")
    with Server(("127.0.0.1", 0), context, pages) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        phone = Phone(server.server_address[1])
        phone.desk, phone.pin, phone.server, phone.door = made, plate.pin, server, door
        yield phone
        server.shutdown()
    made.close()
