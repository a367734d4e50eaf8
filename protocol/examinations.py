"""What examinations say, in Chinese: by the kind of a finding, and sentence by sentence where there are values in it.

The doctor writes English. Whoever shows it, on the box or at the center, looks it up here; what a later doctor says and
is not known here stays as it came.
"""

import re
from typing import Final, NamedTuple

_NAMES: Final = {
    "state": "数据目录", "secrets": "密码文件", "power": "供电", "temperature": "温度",
    "memory": "内存", "disk": "存储", "writes": "写入量",
    "clock": "时钟", "certificate": "证书", "DNS": "域名解析", "route": "路由", "MTU": "MTU", "port": "端口",
    "TLS": "TLS", "center": "中心", "detector": "检测模型", "camera": "摄像头", "sub-stream": "子码流",
}  # fmt: skip
_CODES: Final = """
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
bad_password 用户名或密码不对 检查密码，以及该用户可否看视频
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
CODES: Final = {code: (says, todo) for code, says, todo in (row.split(" ", 2) for row in _CODES.split("\n")[1:-1])}
"""What is wrong, and what to do."""
_SENTENCES: Final = """
the voltage is right | 电压正常
this machine does not tell its voltage | 本机不提供电压信息
this machine does not tell it | 本机不提供温度信息
{} of {} GB free at {} | 可用 {}，共 {} GB：{}
{}: {} to {} % of its life used | {}：寿命已用 {} 至 {} %
{}: {} % of its life used | {}：寿命已用 {} %
{}: worn out | {}：寿命已尽
{}: {} errors of the file system | {}：文件系统有 {} 处错误
free some, or set outbox_mb to {} or less | 清理空间，或将 outbox_mb 设为 {} 以下
this kernel does not count them | 本机内核不统计写入量
{} MB in {} h; {} MB a day are right | {} MB，{} 小时内；正常为每天 {} MB
kept right by NTP | 由 NTP 校准
NTP is switched on now; it takes a minute | NTP 已打开，一分钟内生效
{} s from the center's | 与中心相差 {} 秒
good for {} days | 还有 {} 天到期
{} has no address | {}：没有解析结果
{} has the address {} | {} 的地址是 {}
from {} | 从 {} 出发
{} bytes | {} 字节
{}; the broker's certificate is good for {} days | {}；消息服务器证书还有 {} 天到期
{} is readable by its owner only now | {} 现在只有所有者可读
the agent is connected | 盒子已连上中心
{} answers | {} 有应答
does the broker run? does a firewall let TCP {} through? | 消息服务器开着吗？防火墙放行 TCP {} 吗？
none, as the settings say | 未设，与设置一致
{}, {} ms a look | {}，每次 {} 毫秒
{}, {} pictures a second | {}，每秒 {} 帧
no picture could be decoded of {} | 无法解码：{}
its pictures have more than 8 bits ({}) | 画面超过 8 位（{}）
{} takes twice the processor of H.264 | {} 占用的处理器是 H.264 的两倍
{} pixels wide | 宽 {} 像素
it stalled: nothing came for {} s | 卡住了：{} 秒没有数据
{} pictures a second | 每秒只有 {} 帧
no second key frame within {} s | {} 秒内没有第二个关键帧
a key frame each {} s | 每 {} 秒一个关键帧
its clock is right ({} s) | 时钟准确（{} 秒）
its clock is off by {} s | 时钟相差 {} 秒
its web page{} answers at port {}: {}, or correct the port | 网页（或 ONVIF）在端口 {1} 有应答：请打开 RTSP，或更正端口
nothing answers at that address: check cable, PoE and the address | 该地址没有应答：检查网线、PoE 和地址
the same view | 与主码流画面一致
too dark or too plain to be compared with the main stream; try again by day | 太暗或没有内容，无法比较；请白天再试
"""
SENTENCES: Final = [
    (re.compile(re.escape(english).replace(r"\{\}", "(.*)")), chinese)
    for english, _, chinese in (row.partition(" | ") for row in _SENTENCES.split("\n")[1:-1])
]


class Chinese(NamedTuple):
    """A finding in Chinese; `more`: what the doctor said itself, where `says` only names the kind."""

    name: str
    says: str
    todo: str
    more: str


def chinese(name: str, says: str, todo: str, code: str) -> Chinese:
    """A finding of the doctor in Chinese."""
    kind, _, of = name.partition(" ")
    known, by_code = sentence(says), CODES.get(code, ("", ""))
    what = known or by_code[0] or says
    do = (sentence(todo) or by_code[1] or todo) if todo or not known else ""
    return Chinese(f"{_NAMES.get(kind, kind)} {of}".strip(), what, do, "" if known or what == says else says)


def sentence(english: str) -> str | None:
    """One sentence in Chinese, None where it is not known."""
    for pattern, translated in SENTENCES:
        if found := pattern.fullmatch(english):
            return translated.format(*found.groups())
    return None
