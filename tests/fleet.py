"""A center with a CA, its mosquitto with the very configuration that is deployed, and its enrolment."""

import time
from pathlib import Path

from collector.boxes import labels, register
from collector.boxes.authority import Authority
from collector.boxes.revocation import Lists
from collector.settings import load_settings
from collector.store import open_store
from protocol.broker import BrokerLine
from tests.services import BIN, Process, free_port, run

COLLECTOR, AGENT = BIN / "cityeye-collector", BIN / "cityeye-agent"


class Fleet:
    """Made by the commands that an operator runs.

    Args:
        folder: for all of it.
        host: where boxes reach it.
        listen: the address of this machine that leads there.
        ports: of its broker, of its enrolment, and, on loopback, of its pages.
    """

    def __init__(
        self,
        folder: Path,
        host: str = "127.0.0.1",
        listen: str = "127.0.0.1",
        ports: tuple[int, int, int] | None = None,
    ) -> None:
        self.folder, self.host, self.listen = folder, host, listen
        folder.mkdir(parents=True, exist_ok=True)
        self.broker_port, self.door_port, self.page_port = ports or (free_port(), free_port(), free_port())
        self.settings = folder / "center.toml"
        self.settings.write_text(
            f"""version = 1
[center]
id = "xiaohe"
listen = "127.0.0.1:{self.page_port}"
[broker]
url = "mqtts://{listen}:{self.broker_port}"
ca = "ca/ca.crt"
cert = "ca/collector.pem"
key = "ca/collector.pem"
[enrolment]
listen = "{listen}:{self.door_port}"
url = "https://{host}:{self.door_port}"
broker_url = "mqtts://{host}:{self.broker_port}"
broker_reload = ["sh", "-c", "kill -HUP $(cat '{folder}/broker.pid')"]
"""
        )
        names = [part for name in dict.fromkeys(("127.0.0.1", "localhost", host)) for part in ("--name", name)]
        self.command("init", *names, fails=True)
        state = folder / "mosquitto"
        state.mkdir()
        self.write_config(self.broker_port, state)
        self.config = load_settings(self.settings)
        self.store = open_store(self.config.database_url)
        self.authority = Authority.open(folder / "ca")
        self.line = BrokerLine(url=f"mqtts://{listen}:{self.broker_port}", ca=folder / "ca" / "ca.crt")

    def write_config(self, port: int, state: Path) -> None:
        arguments = ["--port", port, "--address", self.listen, "--state", state, "--user", "root"]
        self.command("broker", "config", *arguments, fails=True)

    def command(self, *arguments, fails=False):
        """Run a command of the collector; `fails`: only its effect matters, as there is no broker yet."""
        done = run(COLLECTOR, *arguments, "--settings", self.settings)
        assert fails or done.returncode == 0, done.stderr
        return done

    def mosquitto(self) -> Process:
        """The broker; the caller ends it."""
        command = ["/usr/sbin/mosquitto", "-c", self.folder / "broker" / "mosquitto.conf"]
        process = Process(command, self.folder / "mosquitto.log", self.broker_port, self.listen)
        (self.folder / "broker.pid").write_text(str(process.process.pid))
        return process

    @property
    def lists(self) -> Lists:
        enrolment = self.config.settings.enrolment
        reload = enrolment.broker_reload
        return Lists(self.store, self.authority, self.folder / "broker", reload, self.line, self.folder)

    def claims(self, count=1, days=30.0, now_s=None, site="xiaohe"):
        now_ms = round((time.time() if now_s is None else now_s) * 1000)
        with self.store.transaction() as session:
            return register.add_boxes(session, site, site, count, days, now_ms)

    def invitation(self, claim):
        return labels.invitation(claim, f"https://{self.host}:{self.door_port}", self.authority.fingerprint)
