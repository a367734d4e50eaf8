"""E-mail by SMTP, and whatever else apprise can reach."""

import contextlib
import logging
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from collector.notices.messages import ChannelBase, Message, Needs, Tools
from collector.notices.outcomes import Report, short
from collector.notices.secrets import SecretName

LIARS: Final = ("dingtalk", "feishu", "lark", "wecombot")
"""apprise says that these have taken a message whenever they answer 200 (2.2, seen; DESIGN): ours read the code."""


class EmailChannel(ChannelBase):
    """E-mail, by SMTP itself: apprise says only yes or no, where a server says much more."""

    needs: ClassVar[Needs] = "email"

    type: Literal["email"]
    host: str
    port: int = Field(default=465, gt=0, lt=65536)
    security: Literal["tls", "starttls", "none"] = "tls"
    user: str = ""
    password: SecretName | None = None
    sender: str = Field(pattern=r"^[^@\s<>]+@[^@\s<>]+$", description="address that it comes from")

    def send(self, message: Message, tools: Tools) -> Report:
        """Send one mail."""
        password = None if self.password is None else tools.secrets.get(self.password)
        mail = EmailMessage()
        mail["From"], mail["To"] = self.sender, message.to
        mail["Subject"] = " ".join(message.subject.split())
        mail["Message-ID"] = f"<{message.request}@{self.sender.partition('@')[2]}>"
        mail["Date"] = formatdate(tools.now())
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.body)
        try:
            client = self._open(tools)
        except (OSError, smtplib.SMTPException) as fault:
            return Report("unreachable", type(fault).__name__, f"{self.host}: {short(fault)}")
        data_sent = False
        try:
            if password is not None:
                client.login(self.user, password)
            client.ehlo_or_helo_if_needed()
            code, text = client.mail(self.sender)
            if code < 400:
                code, text = client.rcpt(message.to)
            if code >= 400:
                return _refusal(code, text)
            data_sent = True
            code, text = client.data(mail.as_bytes())
        except smtplib.SMTPResponseException as fault:
            return _refusal(fault.smtp_code, fault.smtp_error)
        except (OSError, smtplib.SMTPException) as fault:
            outcome: Literal["unsure", "unreachable"] = "unsure" if data_sent else "unreachable"
            return Report(outcome, type(fault).__name__, f"{self.host}: {short(fault)}")
        finally:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                client.close()
        return (
            Report("accepted", str(code), short(text.decode("utf-8", "replace")))
            if code == 250
            else _refusal(code, text)
        )

    def _open(self, tools: Tools) -> smtplib.SMTP:
        context = ssl.create_default_context(cafile=None if tools.line.ca is None else str(tools.line.ca))
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_s, context=context)
        client = smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)
        try:
            if self.security == "starttls":
                client.starttls(context=context)
        except (OSError, smtplib.SMTPException):
            client.close()
            raise
        return client


def _refusal(code: int, text: bytes | str) -> Report:
    said = short(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)
    return Report("later" if 400 <= code < 500 else "refused", str(code), said)


class AppriseChannel(ChannelBase):
    """One of the services that apprise knows; its URL, which holds its secrets, is one itself."""

    type: Literal["apprise"]
    url: SecretName

    @model_validator(mode="after")
    def _installed(self) -> Self:
        try:
            import apprise  # noqa: F401, PLC0415 - only where somebody uses it: it takes half a second
        except ImportError:
            raise ValueError("expected the package apprise for this channel; run: pip install apprise") from None
        return self

    def send(self, message: Message, tools: Tools) -> Report:
        """Hand it to apprise; where that says no, nobody knows how far it came."""
        import apprise  # noqa: PLC0415 - as above

        url = tools.secrets.get(self.url)
        scheme = url.partition("://")[0].lower()
        if scheme in LIARS:
            return Report("refused", "wrong_channel", f"apprise cannot tell whether {scheme} took it; use its own type")
        # its log lines hold addresses with passwords
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        sender: Any = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
        if not sender.add(url):
            return Report("refused", "bad_url", f"apprise knows no service for {scheme}://…")
        try:
            good = sender.notify(title=message.subject, body=message.body)
        except TypeError as fault:
            return Report("refused", "apprise", short(fault))
        if good:
            return Report("accepted", "apprise")
        return Report("unsure", "apprise", "apprise could not send it; it does not say how far it came")
