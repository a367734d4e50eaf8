"""SMS and voice calls through Alibaba Cloud (Dysmsapi 2017-05-25, Dyvmsapi 2017-05-25)."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from collector.notices.channels.answers import at, read
from collector.notices.channels.cloud_templates import CloudTemplate, choose, shown, variables
from collector.notices.http import Line, call
from collector.notices.messages import Asked, ChannelBase, Message, Needs, Tools
from collector.notices.outcomes import Report, short
from collector.notices.secrets import SecretName
from collector.notices.signing import aliyun

LATER: Final = (
    "isv.BUSINESS_LIMIT_CONTROL",
    "isv.DAY_LIMIT_CONTROL",
    "isv.SMS_QPS_LIMIT",
    "isp.SYSTEM_ERROR",
    "isp.RAM_PERMISSION_DENY_RETRY",
    "isp.GATEWAY_ERROR",
    "ServiceUnavailable",
    "InternalError",
)
"""https://help.aliyun.com/zh/sms/developer-reference/api-error-codes; all of `Throttling…` beside them."""
CHINA: Final = timezone(timedelta(hours=8))
"""SendDate is a day there."""


class _Aliyun(ChannelBase):
    """What both have."""

    needs: ClassVar[Needs] = "phone"
    own_texts: ClassVar[bool] = True

    key_id: SecretName = Field(description="AccessKey ID")
    key_secret: SecretName = Field(description="AccessKey secret")
    template: tuple[CloudTemplate, ...] = Field(min_length=1)

    def shown(self, message: Message) -> str:
        """The template and its variables."""
        return shown(self.template, message)

    def _call(self, url: str, action: str, query: Mapping[str, str], tools: Tools) -> Mapping[str, Any] | Report:
        host = url.partition("://")[2].rstrip("/")
        headers = {
            "host": host,
            "x-acs-action": action,
            "x-acs-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",  # of nothing
            "x-acs-date": datetime.fromtimestamp(tools.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "x-acs-signature-nonce": f"{tools.random.getrandbits(128):032x}",
            "x-acs-version": "2017-05-25",
        }
        encoded, authorization = aliyun(
            tools.secrets.get(self.key_id), tools.secrets.get(self.key_secret), query, headers
        )
        line = Line(self.timeout_s, tools.line.proxy, tools.line.ca)
        answer = call(line, "POST", f"{url.rstrip('/')}/?{encoded}", {**headers, "authorization": authorization}, b"")
        return read(answer, errors_too=True)

    def _outcome(self, found: Mapping[str, Any] | Report, id_name: str) -> Report:
        if isinstance(found, Report):
            return found
        code, text = str(found.get("Code", "")), short(found.get("Message", ""))
        if code == "OK":
            return Report("accepted", code, provider=str(found.get(id_name, "")))
        if not code:
            return Report("unsure", "no_code", f"expected Code in the answer, got {short(json.dumps(found))}")
        later = code in LATER or code.startswith("Throttling")
        return Report("later" if later else "refused", code, text)


class AliyunSms(_Aliyun):
    """SMS by SendSms; QuerySendDetails says whether it was delivered."""

    reports: ClassVar[bool] = True

    type: Literal["aliyun_sms"]
    sign: str = Field(min_length=1, description="签名 SignName, as approved")
    url: str = "https://dysmsapi.aliyuncs.com"

    def send(self, message: Message, tools: Tools) -> Report:
        """Send one SMS."""
        template = choose(self.template, message)
        if template is None:
            return Report("refused", "no_template", f"no template for {message.kind}, {message.language}")
        query = {
            "PhoneNumbers": message.to,
            "SignName": self.sign,
            "TemplateCode": template.code,
            "TemplateParam": json.dumps(dict(variables(template, message)), ensure_ascii=False),
            "OutId": message.request,
        }
        return self._outcome(self._call(self.url, "SendSms", query, tools), "BizId")

    def report(self, asked: Asked, tools: Tools) -> Report | None:
        """Ask for what became of one."""
        query = {
            "PhoneNumber": asked.to,
            "BizId": asked.provider,
            "SendDate": datetime.fromtimestamp(asked.sent_ms / 1000, CHINA).strftime("%Y%m%d"),
            "PageSize": "10",
            "CurrentPage": "1",
        }
        found = self._call(self.url, "QuerySendDetails", query, tools)
        if isinstance(found, Report) or found.get("Code") != "OK":
            return None
        status, code = (
            at(found, "SmsSendDetailDTOs.SmsSendDetailDTO.0.SendStatus"),
            "SmsSendDetailDTOs.SmsSendDetailDTO.0.ErrCode",
        )
        if status == 3:
            return Report("delivered", str(at(found, code) or "DELIVERED"))
        return (
            Report("undelivered", str(at(found, code) or ""), "the network did not deliver it") if status == 2 else None
        )


class AliyunVoice(_Aliyun):
    """A call that reads a text, by SingleCallByTts. That it was accepted says nothing of who listened."""

    type: Literal["aliyun_voice"]
    shown_number: str = Field(default="", description="CalledShowNumber; empty: one of the public pool")
    plays: int = Field(default=2, ge=1, le=3, description="how often the text is read")
    url: str = "https://dyvmsapi.aliyuncs.com"

    def send(self, message: Message, tools: Tools) -> Report:
        """Have it call."""
        template = choose(self.template, message)
        if template is None:
            return Report("refused", "no_template", f"no template for {message.kind}, {message.language}")
        query = {
            "CalledNumber": message.to,
            "TtsCode": template.code,
            "TtsParam": json.dumps(dict(variables(template, message)), ensure_ascii=False),
            "PlayTimes": str(self.plays),
            "OutId": message.request[:15],
        }
        if self.shown_number:
            query["CalledShowNumber"] = self.shown_number
        return self._outcome(self._call(self.url, "SingleCallByTts", query, tools), "CallId")
