// What the page says, English|Chinese; and some that the box says, which are matched.

const WORDS = {
  mend: "Correct cityeye.toml on any laptop (partition CITYEYE), then power on again:|请在电脑上改正 CITYEYE 分区里的 cityeye.toml，再重新通电：", claim_trying: "The card's claim is taken to the center …|正在用配置卡向中心认领……", claim_silent: "The card's claim, tried again and again:|配置卡认领未成功，会不断重试：", claim_refused: "The center refuses the card's claim; it is tried again:|中心拒绝了配置卡的认领，仍会重试：",
  steps: "Steps|步骤", title: "Set up this box|设置这台盒子", pin: "PIN on the box's label|盒子标签上的 PIN 码", open: "Open|打开", warned: "The browser warned of the certificate: compare its SHA-256 with the label.|浏览器提示过证书不受信任：请将其 SHA-256 与标签核对。",
  network: "Network|网络", claim: "Center|中心", camera: "Camera|摄像头", picture: "Focus|对焦", zones: "Zones|区域", trial: "Test|试验", leave: "Leave|完工", next: "Next|下一步",
  dhcp: "Addresses come from the network (DHCP), or from cityeye.toml on the card.|地址由网络分配（DHCP），或写在卡上的 cityeye.toml 里。", scan: "Scan the center's label with the phone's camera, copy its whole text and paste it here.|用手机相机扫描中心的标签，复制全部文字并粘贴到这里。", label: "Text of the label|标签文字", claims: "Claim|认领",
  find: "Find cameras|查找摄像头", byhand: "Enter an address by hand|手动输入地址", main: "Main stream|主码流", sub: "Sub-stream (optional)|子码流（可不填）", name: "Name|名称", user: "Camera's user|摄像头用户名", password: "Password|密码", tries: "Test the camera|测试摄像头", use: "Use this camera|使用这台摄像头",
  anew: "Compare anew|重新比较", sizes: "Size of people and goods|人和物品的大小", where: "Where|位置", person: "Person, 1.7 m|1.7 米的人", item: "0.5 m|0.5 米", near: "Near|近处", middle: "Middle|中间", far: "Far|远处",
  draws: "Draw the ground on which nothing may stand: tap its corners, then Done.|画出不许摆放物品的地面：依次点各个角，再点“完成”。", frontage: "Shop front|店前区", gathering: "Crowd|聚集区", plane: "Ground|地面", mask: "Mask|遮挡区", done: "Done|完成", giveup: "Give up|放弃", undo: "Undo|撤销", drop: "Delete|删除", save: "Save zones|保存区域",
  rules: "The agent's own rules, with 10 seconds in place of minutes.|使用盒子本身的规则，只是把几分钟缩短为 10 秒。", again: "Test again|再试一次", doctor: "Check the box|检查盒子", finish: "Set-up is finished|设置完毕", another: "Another camera|再装一台",
  wrong: "This is not the PIN.|PIN 码不对。", wait: "Too many tries: wait {} seconds.|尝试次数过多，请等待 {} 秒。", who: "Enter the PIN of the box.|请输入盒子的 PIN 码。", restarted: "The box has started again; repeat this.|盒子重启过，请重做这一步。", silent: "The box does not answer: is this phone in its network?|盒子没有应答：手机是否在同一网络中？",
  address: "Address|地址", gateway: "Gateway|网关", clock: "Clock|时钟", version: "Software|软件版本", none: "none: check the cable and the router|没有：检查网线和路由器", off: "{} s from this phone's|与手机相差 {} 秒", box: "Box|盒子", site: "Site|街道", many: "{} zones|{} 个区域", remove: "Remove|移除", sure: "Really?|确定？", nopicture: "No picture comes: {}|没有画面：{}", first: "Add a camera first.|请先添加摄像头。",
  live: "Live picture|实时画面", starting: "Waiting for a picture …|等待画面……", stalled: "The camera has stalled|摄像头画面停住了", lost: "The camera does not answer|摄像头没有应答", failed: "It failed|出错了", nodetector: "No detector: people are not drawn.|没有检测模型：不标出人。", people: "{} people seen|看到 {} 人",
  sharp: "{}: {} % of the sharpest so far. Turn the lens slowly past the sharpest point, and back.|{}：为目前最清晰时的 {} %。慢慢转动镜头，越过最清晰的一点再转回来。", small: "too small|太小", unknown: "Not known yet: let somebody walk through the picture, or draw the ground.|还不知道：请让人在画面中走一趟，或画出地面。", enough: "Large enough.|足够大。",
  toosmall: "Too small: go nearer, zoom in, or draw zones where it is large enough. Needed: person 50 px, 0.5 m {} px (an item of {} × {}).|太小：请靠近、拉近镜头，或只在够大的地方画区域。要求：人高 50 像素，0.5 米 {} 像素（物品 {} × {}）。",
  nozone: "No zone is drawn yet.|还没有画区域。", incident: "✓ Test incident: {}, after {} s.|✓ 试验事件：{}，{} 秒后发现。", learning: "Learning the clear place: keep the zone free …|正在学习空场画面：请保持区域内无物品……", view: "The view is {}|画面状态：{}", stands: "It stands there for {} of {} s …|已停放 {} / {} 秒……", count: "{} people; two are a crowd in the test.|{} 人；试验中两人即报聚集。", put: "Put a crate or a bag into the zone and step aside.|把箱子或包放进区域，然后走开。", proof: "Picture of the incident|事件图片", encroachment: "Goods before a shop|店外经营", crowding: "Too many people|人群聚集",
  few: "It needs three corners.|至少三个角。", finished: "Set its values, then save.|请填写参数，然后保存。", corner: "Next corner, or Done.|点下一个角，或点“完成”。", four: "Tap the four corners of a rectangle on the ground, in order.|依次点地面上一个矩形的四个角。", tap: "Tap its corners in order.|依次点它的各个角。", crossing: "{}: its sides cross, or it has no area.|{}：边线交叉，或没有面积。", id: "Name|名称", shop: "Shop's id (optional)|店铺编号（可不填）", dwell_s: "Reported after, s|超过多少秒上报", max_people: "Bears so many people|可容纳人数", width_m: "Metres, corner 1 to 2|第 1 角到第 2 角，米", depth_m: "Metres, corner 2 to 3|第 2 角到第 3 角，米",
  working: "Please wait, up to a minute …|请稍候，最多一分钟……", rtsp: "RTSP is off|RTSP 未开启", nobody: "None was found: are they in this network, and on?|没有找到：它们是否在本网络中并已通电？", choose: "Choose a camera, or enter its address.|请选择摄像头，或输入地址。", nopath: "None of the usual paths: enter the address that its manual names.|常用路径都不对：请输入说明书上的地址。", shuts: "Finished. This page shuts at {}; the center, or a file on the boot partition, opens it again.|设置完毕。本页面将于 {} 关闭；可由中心或启动分区上的文件再次打开。",
};

// of the claim and of a picture that does not come; findings bring their Chinese along (protocol/examinations.py)
const SAID = [
  [/^(\S+): .*\b401\b.*/, "$1：用户名或密码不对（401）"], [/^(\S+): .*\b404\b.*/, "$1：没有这个路径（404）"], [/: it answers, but.*/, "：有应答，但没有画面；请重启摄像头"], [/: no answer within (\d+) s/, "：$1 秒内没有应答"], [/^(\S+): .*nothing listens.*/, "$1：连接被拒绝"],
  [/^the claim code has.*|^expected (the whole text|a claim code|sha256).*/, "标签文字有误：请重新复制全部文字"], [/: expected the center to answer.*/, "：中心没有应答；检查网线和地址，再试"], [/: this center knows no such.*/, "：中心没有这个认领码；请核对标签"], [/: this claim code was tried.*/, "：尝试次数过多；请向中心要新码"], [/: this claim code has expired.*/, "：认领码已过期；请向中心要新码"], [/: this claim code was used.*/, "：认领码已用过；请向中心要新码"], [/: expected the center whose.*/, "：应答的不是标签上的中心，没有发送任何内容；请联系中心"],
];

let language = "en";
export const tongue = () => language;

/** A sentence of the page, each {} replaced in order. */
export function _(key, ...values) {
  const text = (WORDS[key] || key).split("|")[Number(language === "zh" && key in WORDS)];
  return text.replace(/{}/g, () => values.shift());
}

/** What the box said, as it came where it is not known. */
export function says(text) {
  const known = language === "zh" && SAID.find(([pattern]) => pattern.test(text));
  return known ? text.replace(...known) : text;
}

/** Say everything in a language; without one in the reader's. */
export function speak(wanted) {
  language = wanted || (navigator.language.startsWith("zh") ? "zh" : "en");
  document.documentElement.lang = language;
  document.querySelector("#language").textContent = language === "zh" ? "English" : "中文";
  for (const one of document.querySelectorAll("[data-t]")) one.textContent = _(one.dataset.t);
  for (const one of document.querySelectorAll("[data-label]")) one.setAttribute("aria-label", _(one.dataset.label));
}
