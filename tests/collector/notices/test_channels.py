"""Each channel against a service that answers as the real one does: every outcome is reported as what it was."""

import base64
import json
import smtplib
import socket
import socketserver
import threading
import time
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest
from pydantic import ValidationError

from collector.notices import signing
from collector.notices.messages import Asked, Tools
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


def status_set(code, text=""):
    return response({"SendStatusSet": [{"SerialNo": "5:1", "Code": code, "Message": text}]})


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
        (Say({"errcode": 0, "errmsg": "ok"}), "accepted", "0"),
        (Say({"errcode": 310000, "errmsg": "keywords not in content"}), "refused", "310000"),
        (Say({"errcode": 310000, "errmsg": "sign not match, more: [https://…]"}), "refused", "310000"),
        (Say({"errcode": 300005, "errmsg": "token t0ken-value is not exist"}), "refused", "300005"),
        (Say({"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}), "later", "130101"),
        (Say({"errcode": -1, "errmsg": "系统繁忙"}), "later", "-1"),
        (Say({"errmsg": "ok"}), "unsure", "no_code"),
        (Say({"errcode": "0"}), "unsure", "no_code"),  # not their answer: theirs is a number
    ],
    "wecom": [
        (Say({"errcode": 0, "errmsg": "ok"}), "accepted", "0"),
        (Say({"errcode": 93000, "errmsg": "invalid webhook url, hint: […]"}), "refused", "93000"),
        (Say({"errcode": 45009, "errmsg": "api freq out of limit"}), "later", "45009"),
        (Say({"errcode": 40058, "errmsg": "markdown.content exceed max length 4096"}), "refused", "40058"),
    ],
    "feishu": [
        (Say({"code": 0, "msg": "success", "StatusCode": 0, "StatusMessage": "success"}), "accepted", "0"),
        (Say({"StatusCode": 0, "StatusMessage": "success"}), "accepted", "0"),  # as it answered until 2022
        (Say({"code": 19024, "msg": "Key Words Not Found", "data": {}}), "refused", "19024"),
        (Say({"code": 19021, "msg": "sign match fail or timestamp is not within one hour"}), "refused", "19021"),
        (Say({"code": 19001, "msg": "param invalid: incoming webhook access token invalid"}), "refused", "19001"),
        (Say({"code": 11232, "msg": "frequency limited psm"}), "later", "11232"),
        (Say({"code": 9499, "msg": "too many request"}, 429), "later", "9499"),
        (Say({"code": 9499, "msg": "Bad Request"}, 400), "refused", "9499"),
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


def test_a_keyword_is_put_in_where_it_is_missing_and_long_texts_fit(service, tools):
    with_word = robot("wecom", service, tools, keyword="城管")
    with_word.send(message("", body="任务"), tools)
    with_word.send(message("", body="城管任务"), tools)
    with_word.send(message("", body="长" * 3000), tools)
    texts = [got.json["text"]["content"] for got in service.got]
    assert texts[:2] == ["城管 任务", "城管任务"]
    assert len(texts[2].encode()) <= 2048


def test_a_webhook_that_is_no_address_is_told_without_showing_it(tools):
    (tools.folder / "hook").write_text("t0ken-value")
    with pytest.raises(SecretError) as fault:
        channel("wecom", webhook="file:hook").send(message(""), tools)
    assert "t0ken" not in str(fault.value)


ALIYUN_SAYS = [
    (Say({"Code": "OK", "Message": "OK", "BizId": "9^0", "RequestId": "r"}), "accepted", "OK"),
    (Say({"Code": "isv.MOBILE_NUMBER_ILLEGAL", "Message": "非法手机号"}), "refused", "isv.MOBILE_NUMBER_ILLEGAL"),
    (Say({"Code": "isv.BUSINESS_LIMIT_CONTROL", "Message": "触发小时级流控"}), "later", "isv.BUSINESS_LIMIT_CONTROL"),
    (Say({"Code": "isv.AMOUNT_NOT_ENOUGH", "Message": "余额不足"}), "refused", "isv.AMOUNT_NOT_ENOUGH"),
    (Say({"Code": "SignatureDoesNotMatch", "Message": "…"}, 400), "refused", "SignatureDoesNotMatch"),
    (Say({"Code": "Throttling.User", "Message": "…"}, 400), "later", "Throttling.User"),
    (Say({"Code": "ServiceUnavailable", "Message": "…"}, 503), "later", "ServiceUnavailable"),
    (Say({"RequestId": "r"}), "unsure", "no_code"),
]
TENCENT_SAYS = [
    (Say(status_set("Ok", "send success")), "accepted", "Ok"),
    (
        Say(status_set("InvalidParameterValue.IncorrectPhoneNumber", "bad")),
        "refused",
        "InvalidParameterValue.IncorrectPhoneNumber",
    ),
    (Say(status_set("LimitExceeded.PhoneNumberDailyLimit", "…")), "later", "LimitExceeded.PhoneNumberDailyLimit"),
    (
        Say(response({"Error": {"Code": "AuthFailure.SignatureFailure", "Message": "…"}})),
        "refused",
        "AuthFailure.SignatureFailure",
    ),
    (Say(response({"Error": {"Code": "InternalError.Timeout", "Message": "…"}})), "later", "InternalError.Timeout"),
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
    service.say(Say(response({"Error": {"Code": "FailedOperation.X", "Message": "no"}})))
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
    assert issubclass(smtplib.SMTPServerDisconnected, OSError)


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


def test_a_missing_secret_is_named_and_nothing_is_sent(service, tools: Tools, monkeypatch):
    sms = channel("aliyun_sms", url=service.url, sign="x", **{**ALIYUN, "key_secret": "env:NO_SUCH_SECRET"})
    with pytest.raises(SecretError, match="env:NO_SUCH_SECRET: expected a secret, found nothing"):
        sms.send(message(), tools)
    assert service.got == []
    monkeypatch.setenv("NO_SUCH_SECRET", "found-value")
    sms.send(message(), tools)
    assert len(service.got) == 1
