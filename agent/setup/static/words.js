// What the page says, in Chinese and English. English is the key; what the box says of its examinations is matched.

const ZH = {
  steps: "步骤", "Set up this box": "设置这台盒子", "PIN on the label of the box": "盒子标签上的 PIN 码", Open: "打开",
  "The browser warned of the certificate: compare its SHA-256 fingerprint with the label.": "浏览器提示过证书不受信任：请将其 SHA-256 指纹与标签核对。",
  Network: "网络", Center: "中心", Camera: "摄像机", Focus: "对焦", Zones: "区域", Test: "试验", Leave: "完工", Next: "下一步", Back: "返回",
  "Addresses come from the network (DHCP). To change them, use the router, or the box's own console.": "地址由网络分配（DHCP）。如需更改，请在路由器或盒子的控制台上设置。",
  "Join the center": "接入中心", "Scan the QR code of the center's label with the phone's camera, copy its whole text and paste it here.": "用手机相机扫描中心标签上的二维码，复制全部文字并粘贴到这里。",
  "Text of the center's label": "中心标签的文字", Claim: "认领", Cameras: "摄像机", "Find cameras": "查找摄像机", "Enter an address by hand": "手动输入地址",
  "Address of the main stream": "主码流地址", "Address of the sub-stream (optional)": "子码流地址（可不填）", Name: "名称", "User of the camera": "摄像机用户名", "Its password": "密码",
  "Test the camera": "测试摄像机", "Use this camera": "使用这台摄像机", "Aim and focus": "取景与对焦", "Compare anew": "重新比较",
  "How large people and goods are": "人和物品在画面中的大小", Where: "位置", "Person, 1.7 m": "1.7 米的人", "0.5 m": "0.5 米",
  "Draw the ground on which nothing may stand, not the window. Tap corner by corner, then Finish.": "画出不许摆放物品的地面，不要画橱窗。依次点各个角，再点“完成”。",
  "Shop front": "店前区", Crowd: "聚集区", Ground: "地面", Mask: "遮挡区", Finish: "完成", "Give up": "放弃", Undo: "撤销", Redo: "重做", Delete: "删除",
  "Picture to draw on": "绘制用的画面", "Save zones": "保存区域", "Test now": "现场试验", "The agent's own rules, with 10 seconds in place of minutes; the center is told nothing.": "使用盒子本身的规则，只是把几分钟缩短为 10 秒；不会上报中心。",
  "Test again": "再试一次", "Check and leave": "检查并完工", "Check the box": "检查盒子", "Set-up is finished": "设置完毕", "Another camera": "再装一台摄像机",
  "This is not the PIN.": "PIN 码不对。", "Too many tries: wait %s seconds.": "尝试次数过多，请等待 %s 秒。", "Enter the PIN of the box.": "请输入盒子的 PIN 码。",
  "The box has started again; please repeat this.": "盒子重启过，请重做这一步。", "The box does not answer: is this phone in its network?": "盒子没有应答：手机是否在同一网络中？",
  Address: "地址", Gateway: "网关", "Name server": "域名服务器", Clock: "时钟", Software: "软件版本", none: "没有", "check the cable and the DHCP server": "检查网线和 DHCP 服务器",
  "without one the center is only reached in this network": "没有网关，只能访问本网络内的中心", "%s s from this phone's": "与手机相差 %s 秒", "claiming fails with a clock that is far off": "时钟相差太大，认领会失败",
  Box: "盒子", Site: "街道", "%s zones": "%s 个区域", Remove: "移除", "Really?": "确定？", "No picture comes: %s": "没有画面：%s", "Add a camera first.": "请先添加一台摄像机。",
  "Live picture of %s": "%s 的实时画面", "Waiting for the first picture …": "等待第一帧画面……", "The camera has stalled": "摄像机画面停住了", "The camera does not answer": "摄像机没有应答", "It failed": "出错了",
  "No detector: people are not drawn.": "没有检测模型：不标出人。", "%s people seen": "看到 %s 人",
  "%s: now %s % of the sharpest so far. Turn the lens slowly past the sharpest point, and back.": "清晰度 %s：为目前最清晰时的 %s %。慢慢转动镜头，越过最清晰的一点，再转回来。",
  Near: "近处", Middle: "中间", Far: "远处", "too small": "太小", "Not known yet: let somebody walk through the picture, or draw the ground.": "还不知道：请让人在画面中走一趟，或画出地面。",
  "Too small: go nearer, zoom in, or draw zones only where it is large enough. Needed: person 50 px, 0.5 m wide 40 px (an item 40 × 66).": "太小：请靠近、拉近镜头，或只在够大的地方画区域。要求：人高 50 像素，0.5 米宽 40 像素（物品 40 × 66）。",
  "Large enough; reckoned from the ground.": "足够大（按地面推算）。", "Large enough; reckoned from people who were seen.": "足够大（按看到的人推算）。",
  "No zone is drawn: go back and draw one.": "还没有区域：请返回画一个。", "✓ Test incident: %s, seen after %s s.": "✓ 试验事件：%s，%s 秒后发现。", "Learning the clear place: keep the zone free …": "正在学习空场画面：请保持区域内无物品……",
  "The view is %s": "画面状态：%s", "It stands there for %s of %s s …": "已停放 %s / %s 秒……", "%s people in the zone; with two the test reports a crowd.": "区域内 %s 人；有两人时试验即报聚集。",
  "Now put a crate or a bag into the zone and step aside.": "现在把一只箱子或包放进区域，然后走开。", "Picture of the incident": "事件图片", "Goods before a shop": "店外经营", "Too many people": "人群聚集",
  "It needs three corners at least.": "至少需要三个角。", "Finished. Set its values, then save.": "画好了。请填写参数，然后保存。", "Next corner, or Finish.": "点下一个角，或点“完成”。",
  "Shop's id at the center (optional)": "中心的店铺编号（可不填）", "Reported after, seconds": "超过多少秒上报", "People that it bears": "可容纳人数", "Metres from corner 1 to 2": "第 1 角到第 2 角的米数", "Metres from corner 2 to 3": "第 2 角到第 3 角的米数",
  "Tap the four corners of a rectangle on the ground, in order.": "依次点地面上一个矩形的四个角。", "Tap its corners in order.": "依次点它的各个角。", "%s: its sides cross each other, or it has no area.": "%s：边线交叉，或没有面积。",
  "Asking the center …": "正在联系中心……", "Looking for cameras; this takes about 10 seconds …": "正在查找摄像机，约需 10 秒……", "RTSP is switched off": "RTSP 未开启", "None was found: are they in this network, and switched on?": "没有找到：它们是否在本网络中并已通电？",
  "Testing the camera; this takes up to half a minute …": "正在测试摄像机，最多半分钟……", "Choose a camera that was found, or enter its address.": "请选择找到的摄像机，或输入地址。",
  "It speaks RTSP, at none of the usual paths: enter the address that its manual names.": "它支持 RTSP，但常用路径都不对：请输入说明书上的地址。", "Checking the box; this takes up to a minute …": "正在检查盒子，最多一分钟……",
  "Finished. This page shuts at %s; the center, or a file on the boot partition, opens it again.": "设置完毕。本页面将于 %s 关闭；可由中心或启动分区上的文件再次打开。",
};

// of agent/camera/examination.py and the doctors, as far as an installer meets them
const SAID = [
  [/^camera (\S+)$/, "摄像机 $1"], [/^sub-stream (\S+)$/, "子码流 $1"], [/^(.+), ([\d.]+) pictures a second$/, "$1，每秒 $2 帧"], [/^([\d.]+) pictures a second$/, "每秒只有 $1 帧"],
  [/^no picture could be decoded of (.+)$/, "无法解码：$1"], [/^set it to H\.264$/, "请设为 H.264"], [/^its picture is black$/, "画面是黑的"], [/^its picture is plain$/, "画面没有内容"],
  [/^is there a cap or a film.*$/, "镜头盖或保护膜取下了吗？还是夜间？"], [/^its pictures have more than 8 bits \((.+)\)$/, "画面超过 8 位（$1）"], [/^set it to H\.264 or to H\.265 Main.*$/, "请设为 H.264 或 H.265 Main：盒子硬件都解不了它"],
  [/^(\S+) takes twice the processor of H\.264$/, "$1 占用的处理器是 H.264 的两倍"], [/^set it to H\.264 where the box has many cameras$/, "盒子带多台摄像机时请设为 H.264"], [/^(\d+) pixels wide$/, "宽 $1 像素"],
  [/^1920 × 1080 is enough.*$/, "1920 × 1080 就够了；另设一路子码流看移动物体"], [/^too small to see goods.*$/, "太小，看不清 5 米外的物品"], [/^take the main stream.*$/, "请用主码流，1280 × 720 以上"],
  [/^taller than wide$/, "画面竖着"], [/^turn the camera, or its picture.*$/, "转动摄像机或关闭走廊模式；也可照此画区域"], [/^it stalled: nothing came for (\d+) s$/, "卡住了：$1 秒没有数据"], [/^check cable, power and its load$/, "检查网线、供电和负载"],
  [/^set 10 to 25; fewer than 5.*$/, "请设为 10 到 25 帧；少于 5 帧看不到路过的人"], [/^no second key frame within (\d+) s$/, "$1 秒内没有第二个关键帧"], [/^a key frame each ([\d.]+) s$/, "每 $1 秒一个关键帧"],
  [/^set a key frame \(I-frame\) each 2 s; no smart codec$/, "请把关键帧（I 帧）间隔设为 2 秒，关闭智能编码"], [/^set a key frame \(I-frame\) each 2 s, or.*$/, "请把关键帧（I 帧）间隔设为 2 秒，或使用子码流"],
  [/^its web page( and ONVIF)? answers at port (\d+).*$/, "它的网页$1在端口 $2 有应答：请在摄像机上开启 RTSP，或改正端口"], [/^nothing answers at that address.*$/, "该地址没有应答：检查网线、PoE 和地址"],
  [/^its clock is right \((.+)\)$/, "它的时钟准确（$1）"], [/^its clock is off by (.+)$/, "它的时钟相差 $1"], [/^set its time server.*$/, "请设置它的校时服务器：画面上的时间是证据"], [/^the same view$/, "与主码流画面一致"],
  [/^(.+): expected the view of (.+), it shows something else.*$/, "$1：与主码流画面不同，它拍的是别处；请设为同一通道、同一宽高比，或不用子码流"], [/^(.+): expected the view of (.+), (?:it|the main stream) shows about (.+?);.*$/, "$1：与主码流画面不同（$3）；请设为同一宽高比，或不用子码流"],
  [/^too dark or too plain to be compared.*$/, "太暗，无法与主码流比较；请白天再试"], [/^(.+): (?:.*\b401\b.*|.*nauthorized.*)$/, "$1：用户名或密码不对（401）"], [/^(.+): it answers, but sends no picture within (\d+) s.*$/, "$1：有应答，但 $2 秒内没有画面；请重启摄像机"],
  [/^(.+): no answer within (\d+) s$/, "$1：$2 秒内没有应答"], [/^(.+): expected a video stream, found none.*$/, "$1：没有视频流；这是摄像机的地址吗？"], [/^(.+): .*onnection refused.*$/, "$1：连接被拒绝"], [/^(.+): .*\b404\b.*$/, "$1：没有这个路径（404）"],
  [/^power$/, "供电"], [/^temperature$/, "温度"], [/^memory$/, "内存"], [/^disk$/, "磁盘"], [/^clock$/, "时钟"], [/^center$/, "中心"], [/^certificate$/, "证书"], [/^route$/, "路由"], [/^port$/, "端口"], [/^detector$/, "检测模型"], [/^state$/, "状态目录"],
  [/^this machine does not tell its voltage$/, "本机不报告电压"], [/^this machine does not tell it$/, "本机不报告"], [/^the voltage is right$/, "电压正常"], [/^the voltage is too low now$/, "电压过低"], [/^the voltage was too low since the start$/, "开机以来曾经电压过低"], [/^take the power supply that.*$/, "请用板卡厂家指定的电源，线更短或更粗"],
  [/^kept right by NTP$/, "由 NTP 校准"], [/^nobody keeps it right$/, "没有校时"], [/^timedatectl set-ntp true.*$/, "请启用 NTP（timedatectl set-ntp true）"], [/^(\S+) s from the center's$/, "与中心相差 $1 秒"], [/^good for (\d+) days$/, "有效期还有 $1 天"],
  [/^([\d.]+) of ([\d.]+) GB free at (.+)$/, "$3 剩余 $1 / $2 GB"], [/^(.+), (\d+) ms a look$/, "$1，每次 $2 毫秒"], [/^from (\S+)$/, "经由 $1"], [/^(\d+) bytes$/, "$1 字节"], [/^(\S+) is (\S+)$/, "$1 的地址是 $2"],
  [/^expected a claim code of (\d+) letters and digits, got (\d+)$/, "认领码应有 $1 个字符，现在是 $2 个"], [/^the claim code has a mistake.*$/, "认领码有误：请重新核对"], [/^expected the whole text of a label.*$/, "请粘贴标签的全部文字（https://…/#claim=…&ca=…）"],
  [/^(\S+): expected the center to answer, got: (.+?); check.*$/, "$1：中心没有应答（$2）；检查网线和地址，可用同一标签再试"], [/^(\S+): expected the center whose CA is .*$/, "$1：应答的不是标签上的那个中心；可能有人在中间，没有发送任何内容；请联系中心"],
];

let language = "en";
const kept = () => { try { return localStorage.getItem("language"); } catch { return null; } };

export const tongue = () => language;

/** A sentence of the page, `%s` replaced in order. */
export function _(text, ...values) {
  const parts = [...values];
  return ((language === "zh" && ZH[text]) || text).replace(/%s/g, () => String(parts.shift()));
}

/** What the box said: of several parts each; as it came where it is not known. */
export function says(text) {
  if (language !== "zh") return text;
  const known = SAID.find(([pattern]) => pattern.test(text));
  return known ? text.replace(known[0], known[1]).replace(" and ONVIF", "和 ONVIF") : text;
}

/** Speak a language, the reader's where none is named, and say everything on the page in it. */
export function speak(wanted) {
  language = wanted || kept() || (navigator.language.startsWith("zh") ? "zh" : "en");
  if (wanted) try { localStorage.setItem("language", wanted); } catch { /* it is asked again */ }
  document.documentElement.lang = language;
  document.querySelector("#language").textContent = language === "zh" ? "English" : "中文";
  for (const one of document.querySelectorAll("h1, h2, p, th, label > span, summary, button")) {
    if (one.children.length || one.id === "language" || one.closest("#steps, #cameras, #found, #shape")) continue;
    one.dataset.t ??= one.textContent;
    if (ZH[one.dataset.t]) one.textContent = _(one.dataset.t);
  }
  for (const one of document.querySelectorAll("[data-label]")) one.setAttribute("aria-label", _(one.dataset.label));
}
