"""What is printed is what is scanned."""

import csv
import io
import random
import shutil

import cv2
import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from collector.boxes import labels
from collector.boxes.register import NewClaim
from protocol.enrolment import Invitation, make_claim

FINGERPRINT = "0123456789abcdef" * 4
URL = "https://street-center.xiaohe.example.cn:8884"


@pytest.fixture(scope="module")
def claims():
    bits = random.Random(1).getrandbits
    return [NewClaim(f"xiaohe-{number:04d}", "xiaohe", make_claim(bits), 1_800_000_000_000) for number in range(1, 14)]


def test_the_table_has_a_line_for_each_code(claims):
    rows = list(csv.DictReader(io.StringIO(labels.as_csv(claims, URL, FINGERPRINT))))
    assert [row["claim"] for row in rows] == [one.code for one in claims]
    assert rows[0]["expires"] == "2027-01-15"
    assert Invitation.read(rows[0]["label"]) == Invitation(URL, claims[0].code, FINGERPRINT[:32], "xiaohe-0001")


def test_the_page_needs_nothing_from_elsewhere(claims):
    page = labels.as_page(claims, URL, FINGERPRINT)
    assert "src=" not in page
    assert "url(" not in page
    assert "<script" not in page
    assert page.count("<svg") == len(claims)


def scan(picture):
    """What a telephone does in a moment: OpenCV's reader misses a code at one size and reads it at another."""
    for scale in (1.0, 0.5, 0.75, 1.5):
        text = cv2.QRCodeDetector().detectAndDecode(cv2.resize(picture, None, fx=scale, fy=scale))[0]
        if text:
            return text
    return None


def test_the_codes_on_the_printed_page_can_be_scanned(claims):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium (deploy/setup.sh tools)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 794, "height": 1123}, device_scale_factor=2)
        page.set_content(labels.as_page(claims, URL, FINGERPRINT, flashed=True))
        drawn = page.locator("svg").all()
        shots = [cv2.imdecode(np.frombuffer(one.screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE) for one in drawn]
        cut = "e => e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight"
        edges = [one.evaluate(cut) for one in page.locator("article").all()]
        browser.close()
    read = [scan(shot) for shot in shots]
    assert read == [str(labels.invitation(one, URL, FINGERPRINT)) for one in claims]
    assert not any(edges)  # nothing is cut off
