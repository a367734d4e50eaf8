"""Lines of the audit log in words: what was done, the fields of what it says, and their values.

All of it stands in one table, in both languages, since actions come from all rooms. What is not in it stays as it is.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from collector.places.cameras import CAMERAS
from collector.places.permits import PERMITS
from collector.places.shops import SHOPS
from collector.tickets import machine
from collector.web import fleet, people_pages, words
from collector.web.language import Text, Words
from collector.web.policy_form import AUDIENCES
from collector.web.reader import Reader
from collector.web.register_pages import label

KINDS: Final = {
    "shop": ("店铺", "Shop"),
    "permit": ("备案", "Permit"),
    "camera": ("摄像头", "Camera"),
    "cell": ("单元网格", "Grid cell"),
}
ENDS: Final = {
    "added": ("登记", "added"),
    "changed": ("修改", "changed"),
    "closed": ("停业", "closed down"),
    "reopened": ("恢复营业", "open again"),
    "withdrawn": ("撤销", "withdrawn"),
    "retired": ("停用", "retired"),
    "forgotten": ("个人信息已删除", "its people forgotten"),
    "exported": ("导出", "exported"),
}
TABLE: Final = """
audit.exported  导出审计日志  Audit log exported
box.settings  更改盒子设置  Settings of a box changed
box.accepted  验收安装  Installation accepted
boxes.add  登记盒子  Boxes announced
boxes.admit  接纳盒子  Box admitted
boxes.renew  重新制作标签  New label for a box
boxes.replace  替换盒子  Box replaced
boxes.revoke  停用盒子  Box put out
cases.exported  导出案卷  Cases exported
certificate.issue  签发证书  Certificate issued
clock.jump  时钟跳变  The clock jumped
detectors.add  登记检测模型  Detector taken up
systems.add  登记系统  System taken up
dataset.export  导出训练数据  Dataset exported
evidence.original  调取原图  Original fetched
filing.filed  备案材料已报送  Filing handed in
learning.accept  采纳区域参数  A zone's limits accepted
learning.release  图片用于训练  Pictures released for training
learning.release_taken_back 撤回图片用于训练  Pictures no longer released for training
learning.releases_carried 恢复备份时沿用图片用于训练  Releases for training handed on to a copy
evidence.broken  签名校验未通过  Seal broken
evidence.deleted  到期删除图片  Pictures deleted, their purpose served
evidence.held  证据保全  Held for the law
evidence.holds_carried 恢复备份时沿用证据保全  Legal holds handed on to a copy
evidence.hold_lifted 解除证据保全  Legal hold lifted
evidence.package  制作证据材料包  Package of evidence made
evidence.retained  每日到期清理  Retention ran
notice.decide  判定提醒结果  Said what became of a notice
paper.made  生成文书  Paper made
pause.begin  开始暂停  Pause begun
pause.end  结束暂停  Pause ended
people.rekey  更换密钥  Second factors sealed anew
person.add  新增人员  Person added
person.change  修改人员  Person changed
person.disable  停用人员  Person locked out
person.enable  恢复人员  Person let in again
person.grant  授予角色  Role given
person.link  绑定统一认证  Linked to single sign-on
person.password  修改密码  Own password changed
person.password_reset 重置密码  First password given
person.recovery  更换恢复码  New recovery codes
person.revoke  收回角色  Role taken away
person.sessions_end  退出其他登录  Sessions ended
person.sso_grants  统一认证更新角色  Roles as single sign-on says
person.totp  启用两步验证  Second factor set up
person.totp_drop  停用两步验证  Second factor turned off
person.totp_reset  取消两步验证  Second factor taken away
person.unlock  清除失败次数  Failed tries forgotten
policy.set  修改策略  Policy changed
proposal.received  收到建议  Proposal received
proposal.shown  展示建议  Proposal shown
proposal.refused  不予展示建议  Proposal not shown
proposal.answered  答复建议  Proposal answered
proposal.deleted  到期删除建议  Proposals deleted, their time over
rollout.start  开始推送  Roll-out begun
rollout.stop  停止推送  Roll-out stopped
shop.looked_at  查看店铺联系方式  Looked at a shop's people and numbers
sign_in  登录  Signed in
sign_in.delayed  登录失败过多  Too many failed sign-ins
sign_out  退出  Signed out
store.backup  备份  Backup made
store.restore  恢复备份  Backup restored
ticket.reported  登记上报  Report taken in
token.add  新建令牌  Token made
token.revoke  吊销令牌  Token revoked
webhook.add  新建推送  Webhook added
webhook.pause  暂停推送  Webhook paused
webhook.resume  恢复推送  Webhook goes on
webhook.rotate  更换推送密钥  New secret for a webhook
webhook.test  推送测试  Webhook tried
webhook.remove  删除推送  Webhook removed
webhook.replay  重新推送  Sent again
zones.drawn  绘制区域  Zones drawn
"""
FIELDS: Final = """
address  地址  address
back  申诉前环节  step before
based_on  基于版本  based on
box  盒子  box
boxes  盒子  boxes
by  由  by
camera  摄像头  camera
case_number 案号  case number
changed  修改项  changed
clear_ms  恢复时间  clear since
command  指令  command
copies  备份  copies
days  天数  days
decision  判定  decision
deleted  已删除  deleted
due_ms  时限  due
failed  故障项  failed
fields  修改项  fields
first  首先  first
given  授予  given
grant  角色  role
grants  角色  roles
history  含历史  with its history
hosts  主机  hosts
how  方式  how
incident  事件  incident
ledger  入库账本  ledger
level  级别  level
masked  已遮挡  masked
method  方式  method
name  名称  name
number  编号  number
of  同工单  same as ticket
on  启用  on
outcome  结果  outcome
owner  所有者  owner
pause  暂停  pause
permit  备案  permit
permit_id  备案记录  permit's record
picture  图片  picture
pictures  图片  pictures
reason  理由  reason
revision  版本  revision
role  类型  role
rows  行数  rows
seen  所见  seen
seen_ms  查看时间  looked at
sessions_ended 结束登录  sessions ended
shop_due_ms 商户时限  the shop's time ends
since  自  since
site  街道  street
source  来源文件  file
state  状态  state
strays  无记录文件  files without a row
taken  收回  taken away
text  说明  text
to  给  to
told_ms  告知时间  told
tokens_revoked 吊销令牌  tokens revoked
unit  单位  unit
until_ms  截至  until
urgency  紧急程度  urgency
usage  用途  usage
version  工单版本  version
via  程序令牌  by token
whom  对象  whom
why  原因  why
shapes  绘制内容  drawn
zone  区域  zone
zones  区域  zones
"""
VALUES: Final[Mapping[str, Mapping[str, Any]]] = {
    "state": words.STATES,
    "back": words.STATES,
    "outcome": words.OUTCOMES,
    "urgency": words.URGENCIES,
    "seen": words.SIGHTS,
    "to": dict(AUDIENCES),
    "first": dict(AUDIENCES),
    "fields": {one.field: label(one) for kind in (CAMERAS, PERMITS, SHOPS) for one in kind.columns},
    "changed": people_pages.LABELS,
}
GRANTS: Final = ("grant", "grants", "given", "taken")


def _read(table: str) -> dict[str, Words]:
    found = {}
    for line in table.strip().splitlines():
        code, zh, en = line.split(maxsplit=2)
        found[code] = Words(zh, en)
    return found


def _actions() -> dict[str, Text]:
    found: dict[str, Text] = {f"ticket.{verb}": words.EVENTS[verb] for verb in (*machine.VERBS, "picture")}
    found |= {f"box.{verb}": text for verb, text in fleet.VERBS.items()}
    for kind, (zh, en) in KINDS.items():
        found |= {f"{kind}.{end}": Words(f"{zh}{said[0]}", f"{en} {said[1]}") for end, said in ENDS.items()}
    return found | _read(TABLE)


ACTIONS: Final[Mapping[str, Text]] = _actions()
NAMES: Final = _read(FIELDS)


def value(name: str, given: Any, reader: Reader) -> str:
    """A value, as this reader has it."""
    if isinstance(given, list):
        return ", ".join(value(name, one, reader) for one in given)
    if name.endswith("_ms") and isinstance(given, int):
        return reader.moment(given)
    if name in GRANTS:
        return reader.say(words.office(given))
    if name in VALUES:
        return reader.say(words.words(VALUES[name], str(given)))
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
