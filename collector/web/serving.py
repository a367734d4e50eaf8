"""How pages are served: who is let in, over which line."""

import contextlib
import gc
import http.client
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI

from collector.commandline import now_ms
from collector.people import roster
from collector.people.passwords import Passwords
from collector.people.sessions import Ages
from collector.people.signing import Signing
from collector.people.sso import Fetcher, Provider
from collector.people.vault import KEY_FILE, Vault, VaultError
from collector.settings import CenterConfig
from collector.store import Store
from collector.web.rights import Gate
from protocol.documents import SettingsError
from protocol.supervision import notify

ANSWER_S: Final = 3.0
LIMIT_BYTES: Final = 4096
ALIVE_TICKS: Final = 100


def check_people(config: CenterConfig, store: Store) -> str:
    """Pages that others reach want somebody who signs in; raises SettingsError."""
    with store.transaction() as session:
        empty, admin = roster.is_empty(session), roster.has_admin(session)
        count = len(roster.everybody(session))
    if config.settings.pages.url is not None and not admin:
        raise SettingsError(
            "[pages] url: expected a first admin before others reach the pages, found none; run: "
            "cityeye-collector people add ID --admin --settings FILE"
        )
    if empty:
        return "none: pages are open to who reaches this machine's loopback address, and to nobody else"
    return f"{count}, {'with' if admin else 'without'} somebody who administers everywhere"


def check_vault(config: CenterConfig, store: Store) -> None:
    """Try that all second factors open; raises SettingsError."""
    vault = Vault(config.data_dir / KEY_FILE)
    try:
        with store.transaction() as session:
            vault.check(session)
    except VaultError as fault:
        raise SettingsError(str(fault)) from None


def make_gate(config: CenterConfig, store: Store) -> Gate:
    """What decides who gets in; raises SettingsError."""
    settings = config.settings
    ages = Ages(round(settings.people.idle_min * 60_000), round(settings.people.absolute_h * 3_600_000))
    vault = Vault(config.data_dir / KEY_FILE)
    screen_ms = round(settings.people.screen_days * 86_400_000)
    signing = Signing(
        store,
        now_ms,
        Passwords(),
        ages,
        settings.people.second_factor,
        settings.center.name,
        vault,
        Ages(screen_ms, screen_ms),
    )
    return Gate(signing, settings.pages.url, proxied=bool(settings.pages.proxies), provider=_provider(config))


def _provider(config: CenterConfig) -> Provider | None:
    sso = config.settings.sso
    if sso is None:
        return None
    try:
        secret = "" if sso.client_secret_file is None else config.path(sso.client_secret_file).read_text().strip()
        fetch = Fetcher(None if sso.ca is None else config.path(sso.ca))
    except (OSError, UnicodeDecodeError) as fault:
        raise SettingsError(f"[sso]: expected files that can be read, got: {fault}") from None
    return Provider(sso, secret, f"{address(config)}/sign-in/sso/back", fetch, now_ms)


def certificate(config: CenterConfig) -> tuple[Path | None, Path | None]:
    """Certificate and key of the pages; raises SettingsError where they cannot be used."""
    pages = config.settings.pages
    if pages.certificate is None or pages.key is None:
        return None, None
    chain, key = config.path(pages.certificate), config.path(pages.key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)
    except OSError as fault:
        raise SettingsError(
            f"[pages] certificate, key: expected a certificate in PEM and its key in {chain} and {key}, got: {fault}"
        ) from None
    return chain, key


def address(config: CenterConfig) -> str:
    """Where people find the pages."""
    host, port = config.listen
    return config.settings.pages.url or f"http://{f'[{host}]' if ':' in host else host}:{port}"


def answers(config: CenterConfig) -> bool:
    """Whether a center of this kind answers at the address of the pages, asked from this machine."""
    host, port = config.listen
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - asked, not bound
    secure = certificate(config)[0] is not None
    # this machine's own address is not in the certificate, and nothing secret is sent
    trust = ssl._create_unverified_context() if secure else None  # noqa: S323, SLF001
    line = (
        http.client.HTTPSConnection(host, port, timeout=ANSWER_S, context=trust)
        if secure
        else http.client.HTTPConnection(host, port, timeout=ANSWER_S)
    )
    with contextlib.closing(line):
        try:
            line.request("GET", "/healthz", headers={"host": "localhost"})
            answer = line.getresponse()
            found = answer.read(LIMIT_BYTES)
        except (OSError, http.client.HTTPException):
            return False
    # behind a proxy nobody is of this machine
    return b'"inbox"' in found or answer.headers.get("www-authenticate") == "Bearer"


def settle_memory() -> None:
    """Keep what is there for good, modules above all, out of garbage collection.

    A full collection went through all of it, and held every thread for .18 s (2 cores, a million tickets).
    """
    gc.collect()
    gc.freeze()


class Server(uvicorn.Server):
    """Ends quietly and with status 0; uvicorn's own handlers end the process by the signal once more.

    Tells systemd that it is ready, and then that it is alive, for as long as `works` says so.
    """

    def __init__(self, config: uvicorn.Config, works: Callable[[], bool]) -> None:
        super().__init__(config)
        self._works = works

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if counter == 0:
            settle_memory()
            notify("READY=1")
        if counter % ALIVE_TICKS == 0 and self._works():
            notify("WATCHDOG=1")
        return await super().on_tick(counter)

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]  # it is a generator there
        """Leave signals to `serve`."""
        return contextlib.nullcontext()


def make_server(pages: FastAPI, config: CenterConfig, works: Callable[[], bool]) -> Server:
    """The server of the pages, over TLS where the settings say so; raises SettingsError.

    Args:
        pages: the application.
        config: the center's settings.
        works: whether all parts of this program live.
    """
    chain, key = certificate(config)
    proxies = config.settings.pages.proxies
    settings = uvicorn.Config(
        pages,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=2,
        # uvicorn's default would believe whoever asks from this machine
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        ssl_certfile=chain,
        ssl_keyfile=key,
    )
    return Server(settings, works)
