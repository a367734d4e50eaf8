"""The channels: one module a family, one class a type. A class is its settings, and says how it sends.

To add one: a subclass of `ChannelBase` with a `type`, a `send`, and its name in `AnyChannel`. A type whose library is
missing is refused by the settings with the line that installs it.
"""

from typing import Annotated

from pydantic import Field

from collector.notices.channels.aliyun import AliyunSms, AliyunVoice
from collector.notices.channels.callback import HttpChannel, Loudspeaker
from collector.notices.channels.mail import AppriseChannel, EmailChannel
from collector.notices.channels.robots import DingTalk, Feishu, WeCom
from collector.notices.channels.tencent import TencentSms, TencentVoice
from collector.notices.channels.topic import MqttChannel

AnyChannel = Annotated[
    HttpChannel
    | Loudspeaker
    | AliyunSms
    | AliyunVoice
    | TencentSms
    | TencentVoice
    | DingTalk
    | WeCom
    | Feishu
    | EmailChannel
    | AppriseChannel
    | MqttChannel,
    Field(discriminator="type"),
]

__all__ = ["AnyChannel"]
