"""The page of what a box's doctor found, to be printed, and where an installation is accepted by it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import changes
from collector.boxes.orders import OrderError
from collector.people import rights
from collector.people.actor import Actor
from collector.store import AcceptanceRow, Box, CommandRow
from collector.web import story
from collector.web.language import N_, Text, Words
from collector.web.pages import Page, Showing
from collector.web.rights import Acting, Desk, Fields, check, in_streets, needs
from protocol.commands import Examined, Found

SHOWN: Final = 10
LEVELS: Final = {"FAIL": "bad", "warn": "warn", "ok": "good"}
STATES: Final = {"FAIL": N_("Fails"), "warn": N_("To be mended"), "ok": N_("In order")}
_NAMES: Final = {
    "state": "数据目录", "power": "供电", "temperature": "温度", "memory": "内存", "disk": "存储", "writes": "写入量",
    "clock": "时钟", "certificate": "证书", "DNS": "域名解析", "route": "路由", "MTU": "MTU", "port": "端口",
    "TLS": "TLS", "center": "中心", "detector": "检测模型", "camera": "摄像头", "sub-stream": "子码流",
}  # fmt: skip
_CHINESE: Final = """
undervoltage 电压过低 换用原厂电源，加粗供电线
undervoltage_was 启动以来曾电压过低 换用原厂电源，加粗供电线
slowed 处理器被降频 查看温度
hot 温度过高 遮阳、周围留出空隙、清洁风扇
little_memory 内存偏少 换用 1 GB 以上的板卡，或减少摄像头
little_room 存储空间不足 清理空间，或调小 outbox_mb
read_only 数据目录不可写 查看内核日志，更换存储卡
worn 存储寿命将尽 尽快更换
fs_errors 文件系统有错误 运行 fsck；再现则更换
smart 硬盘自报故障（SMART） 立即备份并更换硬盘
many_writes 写入过多，会磨损存储卡 取回诊断并反馈
no_ntp 时钟无人校准 timedatectl set-ntp true，并设本网络的时间服务器
clock_off 时钟与中心不一致 先手动校时，再用 NTP
cert_unreadable 证书无法读取 重新登记本盒子
cert_early 证书尚未生效 盒子时钟偏慢，请校时
cert_over 证书已过期 向中心要新标签，重新登记
cert_soon 证书即将到期 连上中心后会自动续期
no_name 域名解析失败 检查本网络的域名服务器
no_way 没有通往中心的路由 检查网线、VLAN 和网关
small_mtu MTU 过小，TLS 会卡住 将 MTU 设为 1400
no_broker 中心端口不通 检查服务器与防火墙
tls TLS 握手失败 核对盒子时钟；否则重新登记
tls_soon 消息服务器证书即将到期 请中心续期
no_center 未设置中心 登记本盒子
broker 消息服务器不接受本盒子 检查证书；是否已被停用？
state 数据目录不能使用 检查权限和磁盘
no_detector 检测模型不能使用 见 cityeye-models list
slow_detector 检测偏慢 cityeye-models tune，或换板卡
open_secrets 他人可读密码文件 chmod 600
bad_password 摄像头不接受用户名或密码 检查密码
nothing_listens 该地址和端口无应答 检查地址和端口
no_route 到该地址没有路由，或超时无应答 检查网线、PoE 和地址
no_stream 摄像头没有此码流 检查地址中的路径
broken 连接中断，或主机名未知 检查网线和地址
no_video 该地址没有视频 检查是否为摄像头的地址
no_picture 有应答但没有画面 重启摄像头
unreadable 无法读取画面 检查地址、网线和摄像头
no_secret 盒子上没有这个密码 在盒子页面重新填写
rtsp_off 网页可达但 RTSP 不通 在摄像头中打开 RTSP，或更正端口
wrong_codec 画面无法解码 改为 H.264
black 画面全黑 检查镜头盖和保护膜
plain 画面无内容 镜头盖或保护膜未取下？
ten_bits 画面超过 8 位 改为 H.264 或 H.265 Main
heavy_codec 编码格式耗处理器 摄像头多时改为 H.264
too_wide 分辨率过高 1920 × 1080 即可；另设子码流
too_small 画面太小，看不清 5 米外的物品 用主码流，1280 × 720 以上
portrait 画面竖向 转正画面，或按此画区域
stalled 画面卡住 检查网线、供电和摄像头负载
few_pictures 帧率过低 设为每秒 10 至 25 帧
rare_keys 关键帧太少 关键帧（I 帧）间隔设为 2 秒，关闭智能编码
camera_clock 摄像头时钟不准 设置时间服务器
other_view 子码流画面与主码流不同 让两者画面一致
"""
CHINESE: Final = {
    code: (what, todo) for code, what, todo in (line.split(" ", 2) for line in _CHINESE.split("\n")[1:-1])
}


@dataclass(frozen=True)
class Line:
    """A finding, in Chinese by its code; `says`: the doctor's own words, where they differ."""

    level: str
    state: Text
    name: Text
    what: Text
    todo: Text
    says: str


@dataclass(frozen=True)
class Examination:
    """The doctor's answer to a command, who asked for it and who accepted the installation by it."""

    row: CommandRow
    accepted: AcceptanceRow | None
    report: Examined
    names: Mapping[str, Text]

    @property
    def badge(self) -> tuple[Text, str]:
        """The worst of its findings, and how bad that is."""
        states = {one.state for one in self.report.findings} | {"ok"}
        worst = next(one for one in LEVELS if one in states)
        return STATES[worst], LEVELS[worst]

    @property
    def lines(self) -> list[Line]:
        """What was found, what is wrong first."""
        return [_line(one) for state in LEVELS for one in self.report.findings if one.state == state]


def of_box(session: Session, box: str, command: str | None = None) -> list[Examination]:
    """The newest reports of a box, the newest first; or one."""
    query = select(CommandRow, AcceptanceRow).outerjoin(AcceptanceRow).order_by(CommandRow.asked_ms.desc())
    query = query.where(CommandRow.box_id == box, CommandRow.verb == "examine", CommandRow.state == "ok")
    rows = session.execute(query if command is None else query.where(CommandRow.id == command)).fetchmany(SHOWN)
    names = story.names(session, [one.by for pair in rows for one in pair if one is not None])
    found = []
    for row, accepted in rows:
        with contextlib.suppress(ValidationError):  # of an agent that this center does not understand
            found.append(Examination(row, accepted, Examined.model_validate_json(row.data), names))
    return found


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    def find(session: Session, acting: Actor, box: str, command: str) -> tuple[Box, Examination]:
        owner, own = session.get(Box, box), in_streets(acting, "boxes.read")
        if owner is None or (own is not None and owner.site not in own) or not (found := of_box(session, box, command)):
            raise HTTPException(404, "没有这份检查 / there is no such examination")
        return owner, found[0]

    @routes.get("/boxes/{box}/examinations/{command}", dependencies=[needs("boxes.read")])
    def show(page: Showing, acting: Acting, box: str, command: str) -> HTMLResponse:
        return _page(page, acting, box, command)

    def _page(page: Page, acting: Actor, box: str, command: str, fault: str = "") -> HTMLResponse:
        with desk.store.transaction() as session:
            owner, found = find(session, acting, box, command)
            may = rights.may(acting, "boxes.accept", owner.site)
            return page("examination.html", 409 if fault else 200, box=owner, found=found, accepts=may, fault=fault)

    @routes.post("/boxes/{box}/examinations/{command}", dependencies=[needs("boxes.accept")])
    def accept(page: Showing, acting: Acting, fields: Fields, box: str, command: str) -> Any:
        try:
            with desk.store.writing() as session:
                owner, found = find(session, acting, box, command)
                check(acting, "boxes.accept", owner.site)
                failed = sum(one.state == "FAIL" for one in found.report.findings)
                name, note = fields.get("name", ""), fields.get("note", "")
                changes.accept(session, acting, found.row, failed, name, note, desk.now_ms())
        except OrderError as fault:
            return _page(page, acting, box, command, str(fault))
        return RedirectResponse(f"/boxes/{box}/examinations/{command}", 303)

    return routes


def _line(found: Found) -> Line:
    kind, _, of = found.name.partition(" ")
    name = Words(f"{_NAMES.get(kind, kind)} {of}".strip(), found.name)
    what, todo = CHINESE.get(found.code, (found.says, found.todo))
    says = "" if what == found.says else found.says
    state = found.state
    return Line(LEVELS[state], STATES[state], name, Words(what, found.says), Words(todo, found.todo), says)
