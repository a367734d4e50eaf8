"""Each channel against a service that answers as the real one does: every outcome is reported as what it was."""

import base64
import hashlib
import hmac
import json
import socket
import socketserver
import threading
import time
from functools import partial
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest
from pydantic import ValidationError

from collector.notices import signing
from collector.notices.messages import Asked
from collector.notices.secrets import SecretError
from tests.collector.notices.conftest import channel, message
from tests.collector.notices.servers import Say
from tests.incidents import START_S
from tests.services import Broker, free_port, wait_for

CLOUD = [
    {"kind": "*", "code": "SMS_1", "variable": [{"name": "m", "value": "{minutes}"}, {"name": "t", "value": "{token}"}]}
]
ALIYUN = {"key_id": "file:key", "key_secret": "file:secret", "template": CLOUD}
TENCENT = {"secret_id": "file:key", "secret_key": "file:secret", "app": "1400", "template": CLOUD}


def robot(kind, service, tools, **more):
    (tools.folder / "hook").write_text(f"{service.url}/hook?access_token=t0ken-value\n")
    return channel(kind, webhook="file:hook", **more)


def response(found):
    return {"Response": {"RequestId": "r", **found}}


def row(names, code, text, outcome, status=200):
    """What a service answers, what it means, and the code that is kept of it."""
    return Say(dict(zip(names, (code, text), strict=True)), status), outcome, str(code)


ding = partial(row, ("errcode", "errmsg"))
lark = partial(row, ("code", "msg"))
ali = partial(row, ("Code", "Message"))


def status_set(code, text, outcome):
    found = {"SendStatusSet": [{"SerialNo": "5:1", "Code": code, "Message": text}]}
    return Say(response(found)), outcome, code


def error(code):
    return Say(response({"Error": {"Code": code, "Message": "…"}}))


BAD = [
    # what the three robots, the clouds and any gateway have in common
    (Say({}, how="cut"), "unsure", "cut"),
    (Say({"x": "y" * 50}, how="half"), "unsure", "cut"),
    (Say(how="hang", wait_s=1.5), "unsure", "timeout"),
    (Say(b"<html>busy</html>"), "unsure", "no_json"),  # 200 of a captive portal, or of a box in between
    (Say(b"[]"), "unsure", "no_json"),
    (Say(b"", 502), "unsure", "http_502"),
    (Say(b"", 503), "later", "http_503"),
    (Say(b"", 302, {"location": "http://login.example/"}), "refused", "http_302"),
]
ROBOTS = {
    "dingtalk": [
        ding(0, "ok", "accepted"),
        ding(310000, "keywords not in content", "refused"),
        ding(310000, "sign not match, more: [https://…]", "refused"),
        ding(300005, "token t0ken-value is not exist", "refused"),
        ding(130101, "send too fast, exceed 20 times per minute", "later"),
        ding(-1, "系统繁忙", "later"),
        (Say({"errmsg": "ok"}), "unsure", "no_code"),
        (Say({"errcode": "0"}), "unsure", "no_code"),  # not their answer: theirs is a number
    ],
    "wecom": [
        ding(0, "ok", "accepted"),
        ding(93000, "invalid webhook url, hint: […]", "refused"),
        ding(45009, "api freq out of limit", "later"),
        ding(40058, "markdown.content exceed max length 4096", "refused"),
    ],
    "feishu": [
        (Say({"code": 0, "msg": "success", "StatusCode": 0, "StatusMessage": "success"}), "accepted", "0"),
        (Say({"StatusCode": 0, "StatusMessage": "success"}), "accepted", "0"),  # as it answered until 2022
        (Say({"code": 19024, "msg": "Key Words Not Found", "data": {}}), "refused", "19024"),
        lark(19021, "sign match fail or timestamp is not within one hour", "refused"),
        lark(19001, "param invalid: incoming webhook access token invalid", "refused"),
        lark(11232, "frequency limited psm", "later"),
        lark(9499, "too many request", "later", 429),
        lark(9499, "Bad Request", "refused", 400),
    ],
}


@pytest.mark.parametrize(
    ("kind", "say", "outcome", "code"), [(kind, *row) for kind, rows in ROBOTS.items() for row in [*rows, *BAD]]
)
def test_a_robot_is_believed_by_its_code(service, tools, kind, say, outcome, code):
    service.say(say)
    report = robot(kind, service, tools, timeout_s=0.5).send(message(""), tools)
    assert (report.outcome, report.code) == (outcome, code)
    assert len(service.got) == 1
    assert "t0ken-value" not in tools.secrets.clean(report.text)


def test_robots_sign_as_theirs_are_signed(service, tools):
    service.say(Say({"errcode": 0, "code": 0}))
    robot("dingtalk", service, tools, secret="file:secret").send(message(""), tools)
    query = service.got[0].query
    assert query["access_token"] == "t0ken-value"
    at_ms = int(query["timestamp"])
    assert at_ms == START_S * 1000
    assert query["sign"] == signing.dingtalk("s3cret-value", at_ms)
    assert service.got[0].json == {"msgtype": "text", "text": {"content": '请"整改"\n门前'}}
    robot("feishu", service, tools, secret="file:secret").send(message(""), tools)
    assert service.got[1].json == {
        "timestamp": str(int(START_S)),
        "sign": signing.feishu("s3cret-value", int(START_S)),
        "msg_type": "text",
        "content": {"text": '请"整改"\n门前'},
    }


def test_a_missing_keyword_is_put_in_and_long_texts_fit(service, tools):
    with_word = robot("wecom", service, tools, keyword="城管")
    with_word.send(message("", body="任务"), tools)
    with_word.send(message("", body="城管任务"), tools)
    with_word.send(message("", body="长" * 3000), tools)
    texts = [got.json["text"]["content"] for got in service.got]
    assert texts[:2] == ["城管 任务", "城管任务"]
    assert len(texts[2].encode()) <= 2048


def test_a_webhook_that_is_no_address_is_not_shown(tools):
    (tools.folder / "hook").write_text("t0ken-value")
    with pytest.raises(SecretError) as fault:
        channel("wecom", webhook="file:hook").send(message(""), tools)
    assert "t0ken" not in str(fault.value)


ALIYUN_SAYS = [
    (Say({"Code": "OK", "Message": "OK", "BizId": "9^0", "RequestId": "r"}), "accepted", "OK"),
    ali("isv.MOBILE_NUMBER_ILLEGAL", "非法手机号", "refused"),
    ali("isv.BUSINESS_LIMIT_CONTROL", "触发小时级流控", "later"),
    ali("isv.AMOUNT_NOT_ENOUGH", "余额不足", "refused"),
    ali("SignatureDoesNotMatch", "…", "refused", 400),
    ali("Throttling.User", "…", "later", 400),
    ali("ServiceUnavailable", "…", "later", 503),
    (Say({"RequestId": "r"}), "unsure", "no_code"),
]
TENCENT_SAYS = [
    status_set("Ok", "send success", "accepted"),
    status_set("InvalidParameterValue.IncorrectPhoneNumber", "bad", "refused"),
    status_set("LimitExceeded.PhoneNumberDailyLimit", "…", "later"),
    (error("AuthFailure.SignatureFailure"), "refused", "AuthFailure.SignatureFailure"),
    (error("InternalError.Timeout"), "later", "InternalError.Timeout"),
    (Say({"Response": {}}), "unsure", "no_code"),
    (Say({"x": 1}), "unsure", "no_response"),
]


@pytest.mark.parametrize(("say", "outcome", "code"), [*ALIYUN_SAYS, *BAD])
def test_aliyun_sms(service, tools, say, outcome, code):
    service.say(say)
    sms = channel("aliyun_sms", url=service.url, sign="小河街道", timeout_s=0.5, **ALIYUN)
    report = sms.send(message(), tools)
    assert (report.outcome, report.code) == (outcome, code)
    assert len(service.got) == 1
    got = service.got[0]
    assert got.query["PhoneNumbers"] == "13800001234"
    assert json.loads(got.query["TemplateParam"]) == {"m": "5", "t": "tok"}
    signed = {name: got.headers[name] for name in got.headers if name.startswith("x-acs-") or name == "host"}
    assert got.headers["authorization"] == signing.aliyun("LTAI-key-value", "s3cret-value", got.query, signed)[1]
    if outcome == "accepted":
        assert report.provider == "9^0"


@pytest.mark.parametrize(("say", "outcome", "code"), [*TENCENT_SAYS, *BAD])
def test_tencent_sms(service, tools, say, outcome, code):
    service.say(say)
    sms = channel("tencent_sms", url=service.url, sign="小河街道", timeout_s=0.5, **TENCENT)
    report = sms.send(message(), tools)
    assert (report.outcome, report.code) == (outcome, code)
    got = service.got[0]
    assert got.json["PhoneNumberSet"] == ["+8613800001234"]
    assert got.json["TemplateParamSet"] == ["5", "tok"]
    headers = {
        "content-type": "application/json; charset=utf-8",
        "host": urlsplit(service.url).netloc,
        "x-tc-action": "sendsms",
    }
    assert got.headers["authorization"] == signing.tencent(
        "LTAI-key-value", "s3cret-value", "sms", headers, got.body, int(START_S)
    )
    assert (got.headers["x-tc-action"], got.headers["x-tc-version"]) == ("SendSms", "2021-01-11")
    if outcome == "accepted":
        assert report.provider == "5:1"


@pytest.mark.parametrize(
    ("detail", "outcome"),
    [
        ({"SendStatus": 3, "ErrCode": "DELIVERED"}, "delivered"),
        ({"SendStatus": 2, "ErrCode": "MN:0001"}, "undelivered"),
        ({"SendStatus": 1}, None),
        (None, None),
    ],
)
def test_aliyun_says_whether_it_was_delivered(service, tools, detail, outcome):
    found = {"SmsSendDetailDTO": [detail] if detail else []}
    service.say(Say({"Code": "OK", "TotalCount": "1", "SmsSendDetailDTOs": found}))
    sms = channel("aliyun_sms", url=service.url, sign="x", **ALIYUN)
    # half past midnight in China is still the day before in UTC: the day that is asked for is China's
    report = sms.report(Asked("9^0", "13800001234", 1_767_198_600_000), tools)
    assert (report and report.outcome) == outcome
    assert service.got[0].query["SendDate"] == "20260101"
    service.say(Say(how="cut"))
    assert sms.report(Asked("9^0", "13800001234", 0), tools) is None


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ([{"SerialNo": "5:0", "ReportStatus": "FAIL"}, {"SerialNo": "5:1", "ReportStatus": "SUCCESS"}], "delivered"),
        ([{"SerialNo": "5:1", "ReportStatus": "FAIL", "Description": "关机"}], "undelivered"),
        ([{"SerialNo": "5:2", "ReportStatus": "SUCCESS"}], None),  # another message to the same number
        ([], None),
        (None, None),
    ],
)
def test_tencent_says_whether_it_was_delivered(service, tools, found, outcome):
    service.say(Say(response({"PullSmsSendStatusSet": found})))
    sms = channel("tencent_sms", url=service.url, sign="x", **TENCENT)
    report = sms.report(Asked("5:1", "13800001234", round(START_S * 1000)), tools)
    assert (report and report.outcome) == outcome
    assert service.got[0].headers["x-tc-action"] == "PullSmsSendStatusByPhoneNumber"


def test_voice_calls(service, tools):
    service.say(Say({"Code": "OK", "CallId": "c1"}))
    call = channel("aliyun_voice", url=service.url, shown_number="0571", **ALIYUN)
    assert (call.send(message(), tools).provider, service.got[0].query["TtsCode"]) == ("c1", "SMS_1")
    service.say(Say(response({"SendStatus": {"CallId": "c2", "SessionContext": ""}})))
    call = channel("tencent_voice", url=service.url, **TENCENT)
    assert (call.send(message(), tools).provider, service.got[0].json["CalledNumber"]) == ("c2", "+8613800001234")
    service.say(error("FailedOperation.X"))
    assert call.send(message(), tools).outcome == "refused"


def test_a_kind_without_an_approved_text_is_not_sent(service, tools):
    only = [{**CLOUD[0], "kind": "task"}]
    sms = channel("aliyun_sms", url=service.url, sign="x", **{**ALIYUN, "template": only})
    assert sms.send(message(), tools).code == "no_template"
    assert service.got == []


HTTP = {
    "success": {"path": "data.0.code", "equals": ["0", "ok"]},
    "later": {"path": "data.0.code", "equals": ["9"]},
    "text_path": "data.0.why",
    "id_path": "data.0.id",
}


@pytest.mark.parametrize(
    ("say", "settings", "outcome", "code"),
    [
        (Say({"data": [{"code": 0, "id": 12}]}), HTTP, "accepted", "0"),
        (Say({"data": [{"code": "ok"}]}), HTTP, "accepted", "ok"),
        (Say({"data": [{"code": 4, "why": "号码有误 13800001234"}]}), HTTP, "refused", "4"),
        (Say({"data": [{"code": 9, "why": "busy"}]}), HTTP, "later", "http_200"),
        (Say({"data": [{"code": 9}]}, 400), HTTP, "later", "http_400"),
        (Say({"data": []}), HTTP, "unsure", "no_word"),
        (Say(b"garbage"), HTTP, "unsure", "no_word"),
        (Say(b"0,ok\n"), {"success": {"path": "", "equals": ["0,ok"]}}, "accepted", "0,ok"),
        (Say(b"5,no"), {"success": {"path": "", "equals": ["0,ok"]}}, "refused", "5,no"),
        (Say(b"", 204), {}, "accepted", "http_204"),
        (Say(b"no", 401), {}, "refused", "http_401"),
        (Say({"ok": True}), {"success": {"path": "ok", "equals": ["true"]}}, "accepted", "True"),
        *[(say, HTTP, outcome, {"no_json": "no_word"}.get(code, code)) for say, outcome, code in BAD],
    ],
)
def test_any_gateway_by_what_its_settings_call_success(service, tools, say, settings, outcome, code):
    service.say(say)
    sms = channel("http", url=f"{service.url}/x", body='{"t": "{body}"}', timeout_s=0.5, **settings)
    report = sms.send(message(), tools)
    assert (report.outcome, report.code) == (outcome, code)
    assert service.got[0].json == {"t": '请"整改"\n门前'}


def test_fields_are_escaped_for_where_they_stand(service, tools):
    service.say(Say())
    form = channel(
        "http",
        url=f"{service.url}/send/{{to}}?k={{secret.k}}",
        method="PUT",
        format="form",
        body="to={to}&text={body}&by={secret.k}",
        headers={"x-key": "{secret.k}", "x-name": "{shop}"},
        secrets={"k": "file:secret"},
        user="center",
        password="file:other",
    )
    form.send(message("+86 1/2", body="a&b=c 王"), tools)
    got = service.got[0]
    assert got.path == "/send/%2B86%201%2F2?k=s3cret-value"
    assert got.body == b"to=%2B86%201%2F2&text=a%26b%3Dc%20%E7%8E%8B&by=s3cret-value"
    assert (got.headers["x-key"], got.headers["x-name"]) == ("s3cret-value", "%E7%8E%8B%E8%AE%B0")
    assert got.headers["authorization"] == "Basic " + base64.b64encode(b"center:0ther-value").decode()
    assert "s3cret" not in tools.secrets.clean("http://x/?k=s3cret-value")


def test_a_loudspeaker_is_found_by_the_place(service):
    speaker = channel("loudspeaker", url=service.url, devices={"box-1/cam-1/front": "a", "box-1": "b", "*": "c"})
    assert [speaker.device_at(place) for place in ("box-1/cam-1/front", "box-1/cam-2/x", "box-9/cam-1/x")] == list(
        "abc"
    )
    assert channel("loudspeaker", url=service.url, devices={"box-1": "b"}).device_at("box-2/c/z") is None


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("http", {"url": "http://u:p@h/"}, "no user and password"),
        ("http", {"url": "ftp://h/"}, "expected http://"),
        ("http", {"url": "http://h/{phone}"}, "url: unknown field {phone}"),
        ("http", {"url": "http://h/", "body": '{"a": "{secret.no}"}'}, "body: unknown field {secret.no}"),
        ("http", {"url": "http://h/", "body": '{"a": {body}'}, "body: expected JSON"),
        (
            "wecom",
            {"webhook": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=abc"},
            "expected file:PATH or env:NAME",
        ),
        ("wecom", {"webhook": "file:x", "per_minute": 21}, "less than or equal to 20"),
        ("aliyun_sms", {**ALIYUN, "key_secret": "abc123", "sign": "x"}, "expected file:PATH or env:NAME"),
        (
            "aliyun_sms",
            {**ALIYUN, "sign": "x", "template": [{"code": "S", "variable": [{"value": "{minute}"}]}]},
            "template S, variable {minute}: 没有字段 {minute} / unknown field {minute}",
        ),
        ("aliyun_sms", {**ALIYUN, "sign": "x", "template": [{"code": "S"}]}, "says how to object"),
        ("mqtt", {"broker": {"url": "mqtt://h"}, "topic": "a/{who}"}, "unknown field {who}"),
        ("loudspeaker", {"url": "http://h/", "devices": {}}, "at least 1"),
        ("pigeon", {}, "pigeon"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(kind, settings, words):
    with pytest.raises(ValidationError) as fault:
        channel(kind, **settings)
    text = fault.value.errors(include_url=False)[0]["msg"]
    assert words in text
    assert "abc" not in text


class Mail(socketserver.ThreadingTCPServer):
    """An SMTP server that answers by a table."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, **says):
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.says, self.mails = says, []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self):
        self.say(self.server.says.get("hello", "220 hi"))
        while line := self.rfile.readline():
            verb = line[:4].decode().strip().lower()
            answer = self.server.says.get(verb, "354 go" if verb == "data" else "250 ok")
            if answer is None:
                return
            self.say(answer)
            if verb == "data" and answer.startswith("354"):
                mail = b""
                while not mail.endswith(b"\r\n.\r\n"):
                    mail += self.rfile.readline()
                self.server.mails.append(mail)
                end = self.server.says.get("end", "250 queued")
                if end is None:
                    return
                self.say(end)

    def say(self, text):
        self.wfile.write(f"{text}\r\n".encode())


@pytest.mark.parametrize(
    ("says", "outcome", "code"),
    [
        ({}, "accepted", "250"),
        ({"rcpt": "550 no such user"}, "refused", "550"),
        ({"rcpt": "450 mailbox busy"}, "later", "450"),
        ({"end": "554 spam"}, "refused", "554"),
        ({"end": "451 try later"}, "later", "451"),
        ({"end": None}, "unsure", "SMTPServerDisconnected"),  # the whole mail was sent, and no word came
        ({"mail": None}, "unreachable", "SMTPServerDisconnected"),  # nothing was sent yet
        ({"hello": "421 busy"}, "unreachable", "SMTPConnectError"),
    ],
)
def test_mail_tells_apart_what_apprise_does_not(tools, says, outcome, code):
    with Mail(**says) as server:
        at = {"host": "127.0.0.1", "port": server.server_address[1], "security": "none"}
        mail = channel("email", sender="c@example.cn", timeout_s=2, **at)
        report = mail.send(message("w@example.org", subject="提醒\nBcc: x"), tools)
    assert (report.outcome, report.code) == (outcome, code)
    if outcome == "accepted":
        assert b"\nBcc" not in server.mails[0]


def test_mail_without_a_server_is_unreachable(tools):
    mail = channel("email", host="127.0.0.1", port=free_port(), security="none", sender="c@example.cn", timeout_s=1)
    assert mail.send(message("w@example.org"), tools).outcome == "unreachable"


@pytest.mark.parametrize(
    ("url", "say", "outcome", "code"),
    [
        ("json://{host}/", Say({}), "accepted", "apprise"),
        ("json://{host}/", Say({}, 500), "unsure", "apprise"),
        ("dingtalk://token", None, "refused", "wrong_channel"),
        ("feishu://token", None, "refused", "wrong_channel"),
        ("wecombot://key", None, "refused", "wrong_channel"),
        ("nonsense://x", None, "refused", "bad_url"),
    ],
)
def test_apprise_says_only_yes_or_no(service, tools, url, say, outcome, code):
    service.say(say or Say())
    (tools.folder / "url").write_text(url.format(host=urlsplit(service.url).netloc))
    report = channel("apprise", url="file:url").send(message(""), tools)
    assert (report.outcome, report.code) == (outcome, code)
    assert len(service.got) == (say is not None)


def test_mqtt_waits_for_the_broker(tmp_path, tools):
    with Broker("mosquitto", tmp_path / "broker", acl="topic write good/#\ntopic read #\n") as broker:
        # mosquitto 2.0 tells a refusal by its ACL in the PUBACK
        said = []
        reader = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        reader.on_message = lambda _c, _d, found: said.append((found.topic, json.loads(found.payload)))
        reader.connect("127.0.0.1", broker.port)
        reader.subscribe("#", 1)
        reader.loop_start()
        time.sleep(0.3)
        to = channel("mqtt", broker={"url": broker.url}, topic="good/{street}/{kind}", timeout_s=3)
        values = {**message().values, "street": "xiao/he"}
        report = to.send(message("", values=values), tools)
        assert report.outcome == "accepted"
        wait_for(lambda: said, "the message came")
        reader.disconnect()
        reader.loop_stop()
        assert said[0][0] == "good/xiao-he/shop_notice"
        assert said[0][1]["text"] == '请"整改"\n门前'
        bad = channel("mqtt", broker={"url": broker.url}, topic="bad/{street}", timeout_s=3)
        assert bad.send(message(""), tools).outcome == "refused"
    gone = channel("mqtt", broker={"url": broker.url}, topic="good", timeout_s=1)
    assert gone.send(message(""), tools).outcome == "unreachable"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        mute = channel("mqtt", broker={"url": f"mqtt://127.0.0.1:{port}"}, topic="good", timeout_s=0.5)
        assert mute.send(message(""), tools).outcome == "unreachable"


def test_a_missing_secret_is_named_and_nothing_is_sent(service, tools, monkeypatch):
    sms = channel("aliyun_sms", url=service.url, sign="x", **{**ALIYUN, "key_secret": "env:NO_SUCH_SECRET"})
    with pytest.raises(SecretError, match="env:NO_SUCH_SECRET: expected a secret, found nothing"):
        sms.send(message(), tools)
    assert service.got == []
    monkeypatch.setenv("NO_SUCH_SECRET", "found-value")
    sms.send(message(), tools)
    assert len(service.got) == 1


EMPTY = hashlib.sha256(b"").hexdigest()
PAYLOAD = rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}'


@pytest.mark.parametrize(
    ("secret_id", "secret_key", "action", "signature"),
    [
        # https://cloud.tencent.com/document/api/382/52072, as it stood in 2019 and 2020: content-type and host signed
        (
            "AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******",
            "Gu5t9xGARNpq86cd98joQYCN3*******",
            None,
            "2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c",
        ),
        # the same page since 2022: x-tc-action too, in lower case
        (
            "AKID********************************",
            "********************************",
            "describeinstances",
            "10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f",
        ),
    ],
)
def test_tencent_as_its_documentation_computes_it(secret_id, secret_key, action, signature):
    headers = {"content-type": "application/json; charset=utf-8", "host": "cvm.tencentcloudapi.com"}
    if action:
        headers["x-tc-action"] = action
    value = signing.tencent(secret_id, secret_key, "cvm", headers, PAYLOAD, 1_551_113_065)
    names = ";".join(headers)
    assert value == (
        f"TC3-HMAC-SHA256 Credential={secret_id}/2019-02-25/cvm/tc3_request, SignedHeaders={names}, "
        f"Signature={signature}"
    )


def test_aliyun_as_its_documentation_computes_it():
    """Its fixed parameters: https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature."""
    query, value = signing.aliyun(
        "YourAccessKeyId",
        "YourAccessKeySecret",
        {"RegionId": "cn-shanghai", "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"},
        {
            "host": "ecs.cn-shanghai.aliyuncs.com",
            "x-acs-action": "RunInstances",
            "x-acs-content-sha256": EMPTY,
            "x-acs-date": "2023-10-26T10:22:32Z",
            "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
            "x-acs-version": "2014-05-26",
        },
    )
    assert query == "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai"
    assert value.endswith("Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0")
    assert (
        "SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version" in value
    )


def test_aliyun_quotes_as_rfc_3986_asks():
    query, _ = signing.aliyun("k", "s", {"b": "王 *~/", "a": "1+1"}, {"host": "h"})
    assert query == "a=1%2B1&b=%E7%8E%8B%20%2A~%2F"


def sha256_mac(key, text):
    """RFC 2104, written out."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(one ^ 0x36 for one in block) + text).digest()
    return hashlib.sha256(bytes(one ^ 0x5C for one in block) + inner).digest()


def test_the_robots_by_their_rules_written_out():
    """DingTalk hashes time and secret under the secret; Feishu hashes nothing under time and secret."""
    secret, text = b"SECabc", b"1700000000000\nSECabc"
    assert base64.b64decode(signing.dingtalk("SECabc", 1_700_000_000_000)) == sha256_mac(secret, text)
    assert base64.b64decode(signing.feishu("SECabc", 1_700_000_000)) == sha256_mac(b"1700000000\nSECabc", b"")
    assert sha256_mac(secret, text) == hmac.new(secret, text, "sha256").digest()
