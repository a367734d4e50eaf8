"""SMS and voice calls through Tencent Cloud (sms 2021-01-11, vms 2020-09-02)."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from collector.notices.channels.answers import at, read
from collector.notices.channels.cloud_templates import CloudTemplate, choose, shown, variables
from collector.notices.http import Line, call
from collector.notices.messages import Asked, ChannelBase, Message, Needs, Tools
from collector.notices.outcomes import Report, short
from collector.notices.secrets import SecretName
from collector.notices.signing import tencent

LATER: Final = ("LimitExceeded", "InternalError", "RequestLimitExceeded", "ResourceInsufficient")
"""Codes that begin so are refused for now: https://cloud.tencent.com/document/product/382/55981."""
DAY_S: Final = 86_400


class _Tencent(ChannelBase):
    """What both have."""

    needs: ClassVar[Needs] = "phone"
    own_texts: ClassVar[bool] = True

    secret_id: SecretName
    secret_key: SecretName
    app: str = Field(min_length=1, description="SmsSdkAppId, VoiceSdkAppid")
    region: str = "ap-guangzhou"
    template: tuple[CloudTemplate, ...] = Field(min_length=1)

    def shown(self, message: Message) -> str:
        """The template and its variables."""
        return shown(self.template, message)

    def _call(
        self, url: str, action: str, version: str, body: Mapping[str, Any], tools: Tools
    ) -> Mapping[str, Any] | Report:
        host = url.partition("://")[2].rstrip("/")
        content = json.dumps(body, ensure_ascii=False).encode()
        at_s = int(tools.now())
        # what is signed is in lower case, the action's value too
        signed = {"content-type": "application/json; charset=utf-8", "host": host, "x-tc-action": action.lower()}
        authorization = tencent(
            tools.secrets.get(self.secret_id),
            tools.secrets.get(self.secret_key),
            "vms" if version.startswith("2020") else "sms",
            signed,
            content,
            at_s,
        )
        headers = {
            **signed,
            "x-tc-action": action,
            "x-tc-timestamp": str(at_s),
            "x-tc-version": version,
            "x-tc-region": self.region,
            "authorization": authorization,
        }
        line = Line(self.timeout_s, tools.line.proxy, tools.line.ca)
        found = read(call(line, "POST", f"{url.rstrip('/')}/", headers, content))
        if isinstance(found, Report):
            return found
        answer = found.get("Response")
        if not isinstance(answer, dict):
            return Report("unsure", "no_response", f"expected Response in the answer, got {short(json.dumps(found))}")
        if "Error" in answer:
            return _said(str(at(answer, "Error.Code")), at(answer, "Error.Message"))
        return answer


def _said(code: str, text: object) -> Report:
    return Report("later" if code.startswith(LATER) else "refused", code, short(text))


class TencentSms(_Tencent):
    """SMS by SendSms; PullSmsSendStatusByPhoneNumber says whether it was delivered.

    Not PullSmsSendStatus: that one gives each status once, so that one asked for by a collector that then dies is lost.
    """

    reports: ClassVar[bool] = True

    type: Literal["tencent_sms"]
    sign: str = Field(min_length=1, description="签名 SignName, as approved")
    url: str = "https://sms.tencentcloudapi.com"

    def send(self, message: Message, tools: Tools) -> Report:
        """Send one SMS."""
        template = choose(self.template, message)
        if template is None:
            return Report("refused", "no_template", f"no template for {message.kind}, {message.language}")
        body = {
            "PhoneNumberSet": [_e164(message.to)],
            "SmsSdkAppId": self.app,
            "SignName": self.sign,
            "TemplateId": template.code,
            "TemplateParamSet": [value for _, value in variables(template, message)],
            "SessionContext": message.request,
        }
        found = self._call(self.url, "SendSms", "2021-01-11", body, tools)
        if isinstance(found, Report):
            return found
        code = at(found, "SendStatusSet.0.Code")
        if code is None:
            return Report("unsure", "no_code", f"expected SendStatusSet in the answer, got {short(json.dumps(found))}")
        if code == "Ok":
            return Report("accepted", "Ok", provider=str(at(found, "SendStatusSet.0.SerialNo") or ""))
        return _said(str(code), at(found, "SendStatusSet.0.Message"))

    def report(self, asked: Asked, tools: Tools) -> Report | None:
        """Ask for what became of one."""
        begin_s = asked.sent_ms // 1000 - 60
        body = {
            "BeginTime": begin_s,
            "EndTime": begin_s + DAY_S,
            "Offset": 0,
            "Limit": 100,
            "PhoneNumber": _e164(asked.to),
            "SmsSdkAppId": self.app,
        }
        found = self._call(self.url, "PullSmsSendStatusByPhoneNumber", "2021-01-11", body, tools)
        if isinstance(found, Report):
            return None
        for one in found.get("PullSmsSendStatusSet") or ():
            if at(one, "SerialNo") == asked.provider:
                text = short(at(one, "Description") or "")
                return Report("delivered" if at(one, "ReportStatus") == "SUCCESS" else "undelivered", text[:60], text)
        return None


class TencentVoice(_Tencent):
    """A call that reads a text, by SendTtsVoice."""

    type: Literal["tencent_voice"]
    plays: int = Field(default=2, ge=1, le=3, description="how often the text is read")
    url: str = "https://vms.tencentcloudapi.com"

    def send(self, message: Message, tools: Tools) -> Report:
        """Have it call."""
        template = choose(self.template, message)
        if template is None:
            return Report("refused", "no_template", f"no template for {message.kind}, {message.language}")
        body = {
            "TemplateId": template.code,
            "CalledNumber": _e164(message.to),
            "VoiceSdkAppid": self.app,
            "TemplateParamSet": [value for _, value in variables(template, message)],
            "PlayTimes": self.plays,
            "SessionContext": message.request,
        }
        found = self._call(self.url, "SendTtsVoice", "2020-09-02", body, tools)
        if isinstance(found, Report):
            return found
        call_id = at(found, "SendStatus.CallId")
        if call_id is None:
            return Report("unsure", "no_id", f"expected SendStatus in the answer, got {short(json.dumps(found))}")
        return Report("accepted", "Ok", provider=str(call_id))


def _e164(phone: str) -> str:
    return phone if phone.startswith("+") else f"+86{phone}"
