"""The doctor's report, and the doctor beside a running agent: in a process of its own, which has FFmpeg."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from agent import VERSION
from agent.findings import Finding
from agent.settings import BoxConfig
from protocol.commands import Examined, Found
from protocol.instants import from_epoch

LONGEST_S: Final = 170.0
"""The center waits for three minutes."""
MOST_LETTERS, MOST_FINDINGS = 500, 400


def report(findings: Sequence[Finding], at_s: float) -> Examined:
    """All of it, for a file or for whoever accepts the installation."""
    cut = [{name: str(value)[:MOST_LETTERS] for name, value in asdict(one).items()} for one in findings]
    return Examined(at=from_epoch(at_s), version=VERSION, findings=tuple(Found(**one) for one in cut[:MOST_FINDINGS]))


def examine_beside(config: BoxConfig, *, connected: bool) -> list[Finding]:
    """What the doctor says now; raises OSError, subprocess.SubprocessError, ValueError where it comes to no end."""
    given = json.dumps({"settings": config.settings.model_dump(mode="json"), "folder": str(config.folder)})
    command = [sys.executable, "-m", "agent.doctor", *(["connected"] if connected else [])]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=LONGEST_S)
    return [Finding(**one) for one in json.loads(done.stdout)]
