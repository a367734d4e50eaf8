"""Texts of the pages, in Chinese and English."""

from typing import Final, NamedTuple

from collector.tickets import machine


class Words(NamedTuple):
    """One text in both languages."""

    zh: str
    en: str


RULES: Final = {
    "encroachment": Words("店外经营", "Encroachment"),
    "crowding": Words("人群聚集", "Crowding"),
    "loitering": Words("人员徘徊", "Loitering"),
}
STATES: Final = {str(state): Words(zh, en[0].upper() + en[1:]) for state, (zh, en) in machine.WORDS.items()}
URGENCIES: Final = {
    "normal": Words("一般", "normal"),
    "urgent": Words("紧急", "urgent"),
    "very_urgent": Words("非常紧急", "very urgent"),
}
OUTCOMES: Final = {
    "community": Words("社区劝导后恢复", "solved by the community"),
    "handled": Words("执法处置", "handled by officers"),
    "withdrawn": Words("撤案", "withdrawn"),
    "moved_on": Words("已离开", "moved on"),
    "other": Words("其他", "otherwise"),
}
SIGHTS: Final = {
    "clear": Words("已恢复", "clear"),
    "occupied": Words("仍占道", "still occupied"),
    "unseen": Words("看不清", "not seen"),
}
DUE: Final = Words("限", "due")
SHOP_DUE: Final = Words("商户时限", "the shop's time ends")
EVENTS: Final = {
    **{one.verb: Words(*one.words) for one in machine.TRANSITIONS},
    "picture": Words("上传处置后图片", "A picture was added"),
    "said": Words("商户所言，工单已不能受理", "The shop said this when the ticket took it no more"),
    "due": Words("核实时限", "time for review"),
    "appeared": Words("首次出现", "First seen"),
    "opened": Words("开单", "Ticket opened"),
    "reopened": Words("30 分钟内复发，重新开单", "Re-opened: back within 30 minutes"),
    "incident_joined": Words("又一事件并入", "Another incident joined"),
    "incident_updated": Words("事件更新", "Incident updated"),
    "incident_cleared": Words("摄像头看到已恢复", "Seen clear by the camera"),
    "incident_ended": Words("事件终止", "Incident ended"),
    "incident_orphaned": Words(
        "设备已不记得此事件（可能更换或清空过），请人工核实",
        "Its box no longer knows this incident: a person has to look",
    ),
    "filed_late": Words("迟到：送达时已恢复，仅存档", "Late: already over when it arrived, filed only"),
    "lapsed": Words("核实前已恢复，工单自行结束", "Clear before anyone reviewed it: the ticket lapsed"),
}
ROLES: Final = {
    "clear": Words("之前（无占道）", "Before, clear"),
    "at": Words("发现时", "As found"),
    "after": Words("恢复后", "After, clear again"),
    "worker_after": Words("处置后（人员拍摄）", "After, taken by a person"),
}
OFFICES: Final = {
    "admin": Words("管理员", "admin"),
    "operator": Words("指挥室操作员", "operator"),
    "grid_worker": Words("网格员", "grid worker"),
    "officer": Words("城管", "officer"),
    "auditor": Words("审计", "auditor"),
    "viewer": Words("查看", "viewer"),
}
VIEWS: Final = {"wide": Words("全景", "wide"), "close": Words("近景", "close")}
CAMERAS: Final = {
    "starting": Words("启动中", "starting"),
    "learning": Words("学习背景", "learning"),
    "live": Words("正常", "live"),
    "stalled": Words("卡顿", "stalled"),
    "lost": Words("失联", "lost"),
    "moved": Words("画面变化", "moved"),
    "off": Words("已停", "off"),
}
BOXES: Final = {
    "online": Words("在线", "online"),
    "offline": Words("离线", "offline"),
    "stopped": Words("已停止", "stopped"),
    "unknown": Words("未知", "unknown"),
}
CLOCKS: Final = {
    "offset": Words("时间已按设备时钟偏差校正", "time corrected by the box's clock offset"),
    "uptime": Words("设备时钟有误，时间按开机时长推算", "the box's clock was wrong: time worked out from its uptime"),
    "received": Words("设备时钟有误，按收到时间计", "the box's clock was wrong: time of receipt"),
}
REASONS: Final = {
    "rule_changed": Words("规则已改", "the rule was changed"),
    "camera_removed": Words("摄像头已撤", "the camera was removed"),
    "withdrawn": Words("撤回", "withdrawn"),
}
SEAL_GOOD: Final = Words("签名有效", "seal verified")
SEAL_UNKNOWN: Final = Words("签名未验", "seal not verified")
SEAL_NONE: Final = Words("未打码，无签名", "not masked, no seal")
SEAL_BROKEN: Final = Words("签名不符", "seal broken")


def words(table: dict[str, Words], value: str) -> Words:
    """Text of a value; lists are open, so that an unknown one is shown as it is."""
    return table.get(value, Words(value, value))
