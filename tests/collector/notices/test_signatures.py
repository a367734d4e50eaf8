"""Signatures, against what their makers publish, and worked out a second time."""

import base64
import hashlib
import hmac

import pytest

from collector.notices import signing

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


def sha256_mac(key: bytes, text: bytes) -> bytes:
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
