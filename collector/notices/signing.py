"""Signatures of the clouds and of the chat robots, each with the page that defines it."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

TC3: Final = "TC3-HMAC-SHA256"
ACS3: Final = "ACS3-HMAC-SHA256"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _canonical(method: str, query: str, headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    names = sorted(name.lower() for name in headers)
    values = {name.lower(): value.strip() for name, value in headers.items()}
    signed = ";".join(names)
    lines = "".join(f"{name}:{values[name]}\n" for name in names)
    return "\n".join([method, "/", query, lines, signed, _sha256(body)]), signed


def tencent(secret_id: str, secret_key: str, service: str, headers: Mapping[str, str], body: bytes, at_s: int) -> str:
    """Value of `Authorization` for Tencent Cloud's API 3.0 (https://cloud.tencent.com/document/api/382/52072).

    `headers` are those to sign, their values as they count in the signature; POST to `/` without a query.
    """
    request, signed = _canonical("POST", "", headers, body)
    day = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")
    scope = f"{day}/{service}/tc3_request"
    text = "\n".join([TC3, str(at_s), scope, _sha256(request.encode())])
    key = f"TC3{secret_key}".encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    return f"{TC3} Credential={secret_id}/{scope}, SignedHeaders={signed}, Signature={_mac(key, text).hex()}"


def aliyun(key_id: str, key_secret: str, query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    """Query and value of `Authorization` for Alibaba Cloud's V3 signature, an RPC call by POST without a body.

    https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature; `headers` are those to sign:
    host and all of `x-acs-…`.
    """
    encoded = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))
    request, signed = _canonical("POST", encoded, headers, b"")
    mac = _mac(key_secret.encode(), f"{ACS3}\n{_sha256(request.encode())}").hex()
    return encoded, f"{ACS3} Credential={key_id},SignedHeaders={signed},Signature={mac}"


def dingtalk(secret: str, at_ms: int) -> str:
    """Signature of a DingTalk robot: milliseconds and secret, keyed with the secret; to be quoted in the query.

    https://open.dingtalk.com/document/robots/customize-robot-security-settings
    """
    return base64.b64encode(_mac(secret.encode(), f"{at_ms}\n{secret}")).decode()


def feishu(secret: str, at_s: int) -> str:
    """Signature of a Feishu robot: here seconds and secret are the key, and what is hashed is empty.

    https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
    """
    return base64.b64encode(_mac(f"{at_s}\n{secret}".encode(), "")).decode()
