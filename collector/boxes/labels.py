"""What installers are handed: a list, and labels to stick on boxes."""

import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import segno

from collector.boxes.register import NewClaim
from protocol.enrolment import MIN_FINGERPRINT_DIGITS, Invitation, plate_of
from protocol.instants import from_epoch

HEAD: Final = ("box", "site", "claim", "ca", "url", "expires", "label")
STYLE: Final = """
@page { size: A4; margin: 10mm }
* { box-sizing: border-box }
body { margin: 0; font: 9pt/1.35 "Noto Sans", "Noto Sans CJK SC", sans-serif; color: #000; background: #fff }
main { display: grid; grid-template-columns: repeat(2, 92mm); gap: 2.5mm 5mm; width: 190mm; margin: 0 auto }
article { display: flex; gap: 3mm; height: 43mm; padding: 2mm; border: .3mm dashed #999;
  break-inside: avoid; overflow: hidden }
svg { flex: none; width: 38mm; height: 38mm }
h2 { margin: 0; font-size: 12pt } p { margin: 0 } small { color: #333; font-size: 6.5pt }
code { display: block; font: bold 10pt/1.5 "DejaVu Sans Mono", "Noto Sans Mono", monospace; white-space: nowrap }
small code { font: 6.5pt/1.3 "DejaVu Sans Mono", "Noto Sans Mono", monospace; white-space: normal;
  word-break: break-all }
"""


def invitation(claim: NewClaim, url: str, fingerprint: str) -> Invitation:
    """What a label of this claim says; the fingerprint is cut, so that the QR code has fewer and larger squares."""
    return Invitation(url, claim.code, fingerprint[:MIN_FINGERPRINT_DIGITS], claim.box)


def as_csv(claims: Sequence[NewClaim], url: str, fingerprint: str) -> str:
    """One line for each claim; `label` is what its QR code holds."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEAD)
    for one in claims:
        label = str(invitation(one, url, fingerprint))
        writer.writerow((one.box, one.site, one.code, f"sha256:{fingerprint}", url, _day(one), label))
    return text.getvalue()


def as_page(claims: Sequence[NewClaim], url: str, fingerprint: str, *, flashed: bool = False) -> str:
    """A page of labels for A4, 12 on a sheet; needs nothing from elsewhere. `flashed`: the boxes' cards have these."""
    labels = "\n".join(_label(one, url, fingerprint, flashed=flashed) for one in claims)
    return f"""<!doctype html>
<html lang="zh"><head><meta charset="utf-8"><title>CityEye 盒子标签 / box labels</title><style>{STYLE}</style></head>
<body><main>
{labels}
</main></body></html>
"""


@dataclass(frozen=True)
class Label:
    """What stands on one.

    Args:
        claim: whose it is.
        code: QR code as an SVG element.
        url: where boxes go.
        pin: the part of the CA's fingerprint that has to be typed, in groups of four.
    """

    claim: NewClaim
    code: str
    url: str
    pin: tuple[str, ...]


def label(claim: NewClaim, url: str, fingerprint: str) -> Label:
    """A label of a claim."""
    code = segno.make(str(invitation(claim, url, fingerprint)), error="m", micro=False)
    # the first half of it will do, where it has to be typed
    groups = tuple(fingerprint[start : start + 4] for start in range(0, MIN_FINGERPRINT_DIGITS, 4))
    return Label(claim, code.svg_inline(border=4, omitsize=True), url, groups)


def _label(claim: NewClaim, url: str, fingerprint: str, *, flashed: bool) -> str:
    made = label(claim, url, fingerprint)
    last = f"CA sha256<code>{' '.join(made.pin[:4])}<br>{' '.join(made.pin[4:])}</code>"
    if flashed:  # nothing has to be typed but this
        name, pin = plate_of(claim.code)
        last = f"设置页 set-up PIN {pin}<code>https://cityeye-{name}.local:8443</code>"
    return f"""<article>{made.code}<div><h2>{html.escape(claim.box)}</h2>
<p>{html.escape(claim.site)}<br>有效至 until {_day(claim)}</p>
<code>{html.escape(claim.code)}</code>
<small>认领码，用一次 claim code, works once<code>{html.escape(url)}</code>
{last}</small></div></article>"""


def _day(claim: NewClaim) -> str:
    return from_epoch(claim.expires_ms / 1000).date().isoformat()
