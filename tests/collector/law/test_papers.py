"""The papers that the law asks for: what they say is what is so, and what is missing stands in them."""

import hashlib
import io
import json
import tomllib

import openpyxl
import pypdf
import pytest
from typer.testing import CliRunner

from collector.law import filing
from collector.law.facts import gather
from collector.law.settings import LawSection
from collector.law.writing import Writer
from collector.people.actor import SYSTEM, Actor
from collector.people.audit import show
from collector.places import cameras
from collector.places.history import Author
from collector.places.register import Around, change
from collector.settings import CenterSettings
from collector.start import command_line
from collector.store import Box, CameraRow, PictureRow, Ticket
from protocol.documents import SettingsError
from tests import places
from tests.collector.conftest import Desk
from tests.people import browser, make_pages, make_person, sign_in

CENTER = """\
version = 1
[center]
id = "demo"
name = "小河街道"
[broker]
url = "mqtt://127.0.0.1:1883"
"""
LAW = """\
[law]
operator = "示例区小河街道办事处"
operator_en = "Xiaohe Office"
address = "示例路 1 号"
responsible = "张三"
contact = "0571-88880000"
video_days = 45
"""
AT_MS = 1_800_000_000_000


class Center:
    """A center of two cameras, at its command line."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "data").mkdir()
        self.desk = Desk(folder / "data")
        self.desk.write(places.box, "box-1", "s", {("market", "front"): None, ("gate", "front"): None})
        self.place("market", name="菜场口", lon="120.15", lat="30.28", height_m="4.5", note="朝南 90°，摊位前")
        self.say(LAW)

    def say(self, law):
        (self.folder / "center.toml").write_text(CENTER + law, "utf-8")
        self.settings = CenterSettings.load(self.folder / "center.toml")

    def place(self, camera, **values):
        author = Author(Actor("person", "li", "李敏"), AT_MS)
        self.desk.write(
            change, cameras.CAMERAS, {"box": "box-1", "camera": camera, **values}, author, Around("", AT_MS)
        )

    def run(self, *words):
        return CliRunner().invoke(command_line(), ["papers", *words, "--settings", str(self.folder / "center.toml")])

    def paper(self, name, suffix="md", language="zh"):
        out = self.folder / f"{name}.{suffix}"
        done = self.run(name, "--language", language, "-o", str(out))
        assert done.exit_code == 0, done.output
        content = out.read_bytes()
        if suffix == "pdf":
            return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)
        return content if suffix == "xlsx" else content.decode()

    def missing(self):
        writer = Writer(self.desk.read(gather, self.settings, AT_MS), None, "")
        return "\n".join(writer.items("gaps", "zh"))


@pytest.fixture
def center(tmp_path):
    found = Center(tmp_path)
    yield found
    found.desk.store.close()


def test_the_sign_says_who_why_what_how_long_and_whom_to_ask(center):
    for suffix in ("md", "pdf"):
        # a PDF breaks lines where they end
        text = center.paper("sign", suffix).replace("\n", "")
        chinese = ("示例区小河街道办事处", "维护公共安全", "人脸", "不识别身份", "45 天", "0571-88880000")
        for word in (*chinese, "Xiaohe Office", "Public safety", "no identification", "video 45 days"):
            assert word in text, (suffix, word)


def test_a_sign_of_any_length_stays_on_one_page(center):
    long = {"operator": "很长的单位名称" * 14, "purpose": "用途" * 100, "purpose_en": "purpose " * 37}
    center.say("\n".join(["[law]", *(f'{name} = "{text}"' for name, text in long.items())]))
    assert "Questions" in center.paper("sign", "pdf")
    assert len(pypdf.PdfReader(center.folder / "sign.pdf").pages) == 1


def test_the_filing_has_every_camera_and_what_changed_since_the_last_one(center):
    assert "没有备案记录" in center.paper("filing")
    assert center.run("filing", "-o", str(center.folder / "x.md"), "--filed", "公备 7").exit_code == 0
    text = center.paper("filing")
    assert "| box-1/market | s | 菜场口 | 120.150000, 30.280000 | 4.5 | 网络摄像机 |  | 朝南 90°，摊位前 |" in text
    assert "没有变化" in text
    assert "公备 7" in text
    center.place("gate", name="北门")
    center.say(LAW.replace("45", "60"))
    with center.desk.store.writing() as session:
        session.add(Box(id="box-2", site="s", state="online", state_since_ms=0, seen_ms=0))
        session.flush()
        session.add(CameraRow(box_id="box-2", camera="new", state="live", since_ms=0))
    text = center.paper("filing", language="en")
    for line in ("- added box-2/new", "- changed box-1/gate: name", "- changed the unit: video days"):
        assert line in text
    with center.desk.store.writing() as session:
        session.get_one(Box, "box-2").standing = "revoked"
        session.get_one(Box, "box-1").standing = "replaced"
    text = center.paper("filing", language="en")
    assert "- gone box-1/market" in text
    assert "box-2" not in text


def test_a_filing_is_a_workbook_and_a_paper_as_well(center):
    center.place("gate", note="a|b =1")
    book = openpyxl.load_workbook(io.BytesIO(center.paper("filing", "xlsx")))
    rows = list(book["图像采集设备"].values)
    assert rows[0][0] == "编号"
    assert [(row[0], row[-1]) for row in rows[1:]] == [("box-1/gate", "a|b =1"), ("box-1/market", "朝南 90°，摊位前")]
    assert "朝南" in center.paper("filing", "pdf")


def test_what_was_filed_is_kept_with_who_filed_it(center):
    make_person(center.desk.store, "zhao", "admin")
    make_person(center.desk.store, "li", "operator@s")
    client = browser(make_pages(center.desk, url=None))
    sign_in(center.desk.store, "li", client)
    assert client.get("/papers").status_code == 200
    assert client.post("/papers/filed", data={"receipt": "7"}).status_code == 403
    sign_in(center.desk.store, "zhao", client)
    assert client.post("/papers/filed", data={"receipt": "公备 7"}).status_code == 303
    page = client.get("/papers?lang=zh").text
    for word in ("公备 7", "Zhao", "此后没有变化"):
        assert word in page
    center.place("gate", name="北门")
    assert "变更 box-1/gate：安装位置" in client.get("/papers?lang=zh").text
    line = center.desk.read(show, action="filing.filed")[0]
    assert (line.actor, json.loads(line.detail)["cameras"]) == ("person:zhao", 2)


def test_both_databases_keep_what_was_filed(desk):
    settings = CenterSettings.model_validate(tomllib.loads(CENTER + LAW))
    desk.write(places.box, "box-1", "s", {("market", "front"): None})
    facts = desk.write(gather, settings, AT_MS)
    digests = [desk.write(filing.note_filed, facts, SYSTEM, receipt, AT_MS) for receipt in ("1", "2")]
    found = desk.read(filing.last, "demo")
    assert desk.read(filing.last, "demo", {"elsewhere"}).list.keys() == {filing.UNIT}
    assert (found.reason, found.digest, digests[0]) == ("2", digests[1], digests[1])
    assert filing.changes(found, facts) == []


def test_papers_are_in_the_readers_language_and_of_their_streets(center):
    make_person(center.desk.store, "sun", "auditor@elsewhere")
    make_person(center.desk.store, "li", "operator@s")
    client = browser(make_pages(center.desk, url=None))
    sign_in(center.desk.store, "li", client)
    found = client.get("/papers/filing.md?lang=en").text
    assert "box-1/market" in found
    assert "The unit" in found
    assert client.get("/papers/sign.pdf").content.startswith(b"%PDF")
    assert client.get("/papers/sign.xlsx").status_code == 404
    sign_in(center.desk.store, "sun", client)
    assert "box-1" not in client.get("/papers/filing.md").text + client.get("/papers/assessment.md").text


def test_the_assessment_says_what_is_set_and_what_is_missing(center):
    text = center.paper("assessment")
    words = ("示例区小河街道办事处", "2 台摄像头，1 个盒子；0 台设有遮挡区", "停留者的轨迹 | 未开启", "先审核后提醒")
    lacks = ("没有人员账号", "1 台摄像头没有登记坐标：box-1/gate", "2 台摄像头没有遮挡区", "车牌、店名不遮挡")
    assert [word for word in words + lacks if word not in text] == []
    assert "[law]" not in text
    assert "Signed 张三" in center.paper("assessment", "pdf", "en")


def test_periods_and_who_else_gets_data_are_as_they_are_set(center):
    evidence = 'keep_days = 60\nfalse_alarm_days = 9\nstore = "s3://p"\nkey_id = "env:A"\nkey_secret = "env:B"'
    center.say(f"{LAW}[evidence]\n{evidence}\n[reports]\nfootfall_days = 33\n[exchange.open311]\nenabled = true\n")
    for name in ("assessment", "sign", "filing"):
        for language, words in (
            ("zh", ("后 60 天", "误报 9 天", "33 天")),
            ("en", ("60 days after", "alarms 9", "33 days")),
        ):
            text = center.paper(name, language=language)
            assert [word for word in words if word not in text] == []
    assert [line for line in text.splitlines() if "{" in line] == []
    text = center.paper("assessment")
    assert [word for word in ("s3://p", "进度）：已开启", "无图片）：未开启") if word not in text] == []


def test_both_databases_count_pictures_that_are_there(desk):
    taken = (("box-1", "i", 0, None), ("box-1", "i", 0, 1), ("box-1", "i", 1, None), (None, "report-7", 0, None))
    ticket = dict.fromkeys(("open", "opened_ms", "created_ms", "changed_ms"), 0)
    with desk.store.writing() as session:
        places.box(session)
        session.add(Ticket(number=7, key="k", rule="r", camera="", zone="", state="closed", street="t", **ticket))
        for at, (box, incident, masked, gone) in enumerate(taken):
            what = {"role": "at", "view": "wide", "sha256": str(at), "bytes": 1, "received_ms": 0, "deleted_ms": gone}
            session.add(PictureRow(id=str(at), box_id=box, incident=incident, masked=masked, **what))
    settings = CenterSettings.model_validate(tomllib.loads(CENTER))
    found = [desk.read(gather, settings, AT_MS, streets).unmasked for streets in (None, {"s"}, {"t"}, {"u"})]
    assert found == [2, 1, 1, 0]


@pytest.mark.parametrize("key", ["operator", "address", "responsible", "contact", "video_days"])
def test_each_setting_that_is_not_there_is_named(center, key):
    assert f"[law] {key}" not in center.missing()
    center.say("\n".join(line for line in LAW.splitlines() if not line.startswith(f"{key} ")))
    assert f"[law] {key}" in center.missing()


def test_a_paper_is_on_record_with_its_digest(center):
    center.paper("assessment", "pdf")
    line = center.desk.read(show, action="paper.")[0]
    digest = hashlib.sha256((center.folder / "assessment.pdf").read_bytes()).hexdigest()
    assert (line.object, json.loads(line.detail)) == ("paper/assessment", {"sha256": digest})


def test_settings_that_cannot_be_are_refused(center):
    with pytest.raises(SettingsError, match="video_days"):
        LawSection.of({"video_days": 29}, "law")
    assert LawSection(video_days=30).video_days == 30
    for words in (("filing", "-o", "x.doc"), ("sign", "-o", "x.xlsx"), ("filing", "-o", "x.md", "--language", "fr")):
        done = center.run(*words)
        assert (done.exit_code, "expected" in done.output) == (2, True), done.output
