"""Writes what was measured into the page on speed: tables between two marks, and a plot beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"
PLOT: Final = "speed.svg"
COLOURS: Final = {"cpu": "#0072b2", "openvino": "#d55e00"}
"""Okabe and Ito's blue and vermilion."""
NAMES: Final = {"cpu": "ONNX Runtime", "openvino": "OpenVINO"}
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 360, 60, 50
Figures = dict[str, Any]
RIVAL_RATE: Final = 5.0
"""Detections a second that somebody would take instead."""
HEADINGS: Final = (
    "agent",
    "cameras",
    "detections a second, each",
    "CPU-s per camera-minute",
    "cores busy",
    "wait before a look, p50 / p99, s",
    "age of a picture when all is decided on it, p99, s",
    "decided after the dwell was over, most, s (how many)",
    "pictures dropped",
    "PSS, MB",
    "first look after, s",
)


def write(page: Path, measured: Figures) -> None:
    """Replace the tables of a page, and draw its plot anew."""
    text = page.read_text("utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{tables(measured)}\n{END}{after}", "utf-8")
    page.with_name(PLOT).write_text(plot(_busy(measured), measured["machine"]), "utf-8")


def tables(measured: Figures) -> str:
    """What was measured, as Markdown."""
    lines = [
        f"On: {measured['machine']}.",
        "",
        "| in place of it | detections a second | CPU-s per camera-minute |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {one['tool']} | {one['detections_per_camera_s']:g} | {one['cpu_s_per_camera_minute']:g} |"
        for one in measured["rivals"]
    ]
    lines += ["", f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}"]
    lines += [_row(one) for one in measured["ours"]]
    lines += ["", *ratios(measured)]
    return "\n".join(["", *lines, "", f"![CPU against cameras]({PLOT})", ""])


def ratios(measured: Figures) -> list[str]:
    """How the figures compare, one line each; what was not measured is left out."""
    lines = []
    rival = next((one for one in measured["rivals"] if one["detections_per_camera_s"] == RIVAL_RATE), None)
    for provider in dict.fromkeys(one["provider"] for one in measured["ours"]):
        costs: dict[str, dict[int, float]] = {}
        for one in measured["ours"]:
            if one["provider"] == provider:
                costs.setdefault(one["clips"], {})[one["cameras"]] = one["cpu_s_per_camera_minute"]
        busy, name = costs.get("busy", {}), NAMES.get(provider, provider)
        if rival and busy:
            most = max(busy)
            less = rival["cpu_s_per_camera_minute"] / busy[most]
            lines.append(
                f"- {name}: each of {most} cameras costs {less:.1f} times less than with {rival['tool']} at "
                f"{RIVAL_RATE:g} detections a second."
            )
        for clips, by_number in costs.items():
            few, many = min(by_number), max(by_number)
            if clips.endswith("the same budget for each") and few < many:
                ratio = by_number[many] / by_number[few]
                lines.append(
                    f"- {name}: with the same budget for each, one of {many} cameras costs {ratio:.2f} times what one "
                    f"of {few} does."
                )
        if "quiet" in costs and (both := set(costs["quiet"]) & set(busy)):
            number = min(both)
            ratio = costs["quiet"][number] / busy[number]
            lines.append(f"- {name}: a quiet street costs {ratio:.2f} times what a busy one does ({number} cameras).")
    return lines


def _row(one: Figures) -> str:
    delay_s = one["decision_delay_max_s"]
    cells = [
        f"{NAMES.get(one['provider'], one['provider'])} {one['precision']}, {one['detector']}, {one['clips']}",
        one["cameras"],
        f"{one['detections_per_camera_s']:.2f}",
        f"{one['cpu_s_per_camera_minute']:.2f}",
        f"{one['cores_busy']:.2f} of {one['cores']}",
        f"{one['inference_wait_p50_s']:.2f} / {one['inference_wait_p99_s']:.2f}",
        f"{one['lag_p99_s']:.1f}",
        "–" if delay_s is None else f"{delay_s:.1f} ({one['decisions']})",
        one["dropped"],
        one["peak_pss_mb"],
        f"{one['start_s']:.2f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _busy(measured: Figures) -> dict[str, list[tuple[int, float]]]:
    lines: dict[str, list[tuple[int, float]]] = {}
    for one in measured["ours"]:
        if one["clips"] == "busy":
            lines.setdefault(one["provider"], []).append((one["cameras"], one["cores_busy"]))
    return {provider: sorted(points) for provider, points in lines.items()}


def plot(lines: dict[str, Sequence[tuple[int, float]]], machine: str) -> str:
    """Busy cores against cameras, as SVG."""
    points = [point for line in lines.values() for point in line]
    most_x = max((x for x, _ in points), default=1)
    most_y = max(2.0, *(y for _, y in points)) if points else 2.0

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + (WIDTH - LEFT - 20) * x / most_x, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 30) * y / most_y

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{WIDTH / 2}" y="18" text-anchor="middle">cores busy against cameras ({machine})</text>',
    ]
    for step in range(5):
        (x, base), (_, y) = at(most_x * step / 4, 0), at(0, most_y * step / 4)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ccc"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{most_y * step / 4:.1f}</text>')
        parts.append(f'<text x="{x:.0f}" y="{base + 20:.0f}" text-anchor="middle">{most_x * step / 4:.0f}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">cameras</text>')
    for number, (provider, line) in enumerate(lines.items()):
        colour, dash = COLOURS.get(provider, "black"), "" if number == 0 else ' stroke-dasharray="7 4"'
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in (at(*point) for point in line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4" fill="{colour}"/>' for x, y in (at(*p) for p in line)]
        parts.append(
            f'<text x="{LEFT + 12}" y="{44 + 18 * number}" fill="{colour}">{NAMES.get(provider, provider)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
