"""The commands of places, as an operator runs them."""

import json

import pytest
from typer.testing import CliRunner

from collector.start import command_line
from tests.services import ROOT

SHOPS, PERMITS, GRID = (
    ROOT / f"config/{name}" for name in ("shops.example.csv", "permits.example.csv", "grid.example.geojson")
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "center.toml").write_text(
        'version = 1\n[center]\nid = "demo"\nregion = "330105"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n'
    )
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        done = CliRunner().invoke(command_line(), [*map(str, words), "--settings", "center.toml"])
        assert done.exit_code == code, done.output
        return done

    return run


def test_a_day_of_a_clerk(run, tmp_path):
    dry = run("shops", "import", SHOPS, "--dry-run")
    assert "dry run: CSV, UTF-8, comma; 3 行 rows, 新增 added 3" in dry.stdout
    assert run("shops", "list").stdout == ""
    run("shops", "import", SHOPS)
    assert run("shops", "list").stdout.splitlines()[2].startswith("tea-12\tactive\txiaohe\t示例茶铺\t")
    run("shops", "add", "fruit-2", "--set", "name=示例果店", "--set", "street=xiaohe", "--reason", "新开")
    run("shops", "change", "fruit-2", "--set", "phone=13800000009", "--seen", "1")
    run("shops", "close", "fruit-2", "--reason", "歇业")
    assert len(run("shops", "list").stdout.splitlines()) == 3
    lines = run("shops", "history", "fruit-2").stdout
    assert "closed" in lines
    assert "(歇业)" in lines
    assert "phone: - -> 13800000009" in lines
    run("shops", "forget", "fruit-2")
    assert "13800000009" not in run("shops", "history", "fruit-2").stdout
    assert run("shops", "history", "nobody", code=1).stderr

    run("permits", "import", PERMITS)
    number = "示例外摆-2026-001"
    assert number in run("permits", "list", "--all").stdout
    words = ("--set", "issuer=示例局", "--set", "shop=tea-12", "--set", "from_day=2026-01-01", "--set", "hours=全天")
    run("permits", "add", "8", *words, "--set", "until_day=2035-12-31")
    assert json.loads(run("permits", "list", "--shop", "tea-12", "--all", "--json").stdout)[1]["hours"] == "00:00-24:00"
    run("permits", "change", number, "--set", "hours=18:00-21:00")
    run("permits", "withdraw", number, "--reason", "投诉")
    assert run("permits", "history", number).stdout.startswith("3: withdrawn")
    assert "withdrawn for good" in run("permits", "change", number, "--set", "hours=18:00-20:00", code=2).stderr

    assert "新增 added 4" in run("grid", "import", GRID).stdout
    assert len(run("grid", "list").stdout.splitlines()) == 4
    (tmp_path / "again.geojson").write_text(run("grid", "list", "--geojson").stdout)
    assert "未变 unchanged 4" in run("grid", "import", "again.geojson").stdout
    assert run("grid", "where", "120.1305", "30.3105").stdout.startswith("330105999001001")
    assert "in no cell" in run("grid", "where", "-120.1", "-30.3", code=1).stderr

    place = ("--set", "lon=120.1305", "--set", "lat=30.3105", "--set", "gb28181=33010500001320000001")
    run("cameras", "set", "box-0001", "cam-1", "--set", "street=xiaohe", *place)
    assert "33010500001320000001\t120.1305 30.3105\t330105999001001" in run("cameras", "list").stdout

    for name in ("shops", "permits", "cameras"):
        for suffix in ("csv", "xlsx"):
            run(name, "export", f"out.{suffix}")
            assert "新增 added 0, 更改 changed 0" in run(name, "import", f"out.{suffix}").stdout


def test_what_is_wrong_is_said_row_by_row(run, tmp_path):
    (tmp_path / "bad.csv").write_bytes("店铺编号,店铺名称,街道,电话\nTea,茶铺,s,1\n".encode("gbk"))
    done = run("shops", "import", "bad.csv", code=1)
    assert "第 2 行，店铺编号 id: " in done.stderr
    assert "row 2, 电话 phone: expected a mobile number" in done.stderr
    assert "nothing imported: CSV, GB18030, comma" in done.stdout
    report = json.loads(run("shops", "import", "bad.csv", "--json", code=1).stdout)
    assert (report["fault_count"], report["taken"]) == (2, False)
    assert "expected a file that can be read" in run("shops", "import", "none.csv", code=2).stderr
    assert "FIELD=TEXT" in run("shops", "add", "x", "--set", "name", code=2).output
    assert "unknown column 'nmae'" in run("shops", "add", "x", "--set", "nmae=a", code=2).stderr
    assert run("shops", "check").stdout == ""
