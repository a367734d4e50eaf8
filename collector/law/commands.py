"""`cityeye-collector papers sign | filing | assessment`."""

from pathlib import Path
from typing import Annotated

import typer

from collector.commandline import SettingsOption, now_ms, one_line, open_data, system
from collector.law import filing
from collector.law.facts import gather
from collector.law.writing import FORMATS, LANGUAGES, Writer, note_made
from collector.papers.typefaces import typeface
from collector.settings import load_settings
from protocol.documents import SettingsError


def papers(
    name: Annotated[str, typer.Argument(help=" | ".join(FORMATS), show_default=False)],
    settings: SettingsOption,
    out: Annotated[Path, typer.Option("-o", "--out", help=".pdf or .md; of the filing .xlsx too", show_default=False)],
    *,
    language: Annotated[str, typer.Option(help="zh or en; the sign has both")] = "zh",
    receipt: Annotated[str | None, typer.Option("--filed", help="note it as filed, with the receipt's number")] = None,
) -> None:
    """Write the sign, what is filed with the police, or the impact assessment, from the settings as they are."""
    with one_line():
        paper = next((one for one in FORMATS if one == name), None)
        if paper is None or language not in LANGUAGES or (receipt is not None and paper != "filing"):
            raise SettingsError(
                f"expected {', '.join(FORMATS)}, --language zh or en, --filed with filing alone, got {name!r:.40}"
            )
        config = load_settings(settings)
        face, store = typeface(config.typeface), open_data(config)
        try:
            with store.writing() as session:
                facts = gather(session, config.settings, now_ms())
                writer = Writer(facts, filing.last(session, config.settings.center.id), face)
                content = writer.write(paper, out.suffix.removeprefix("."), language)
                out.write_bytes(content)
                note_made(session, system(), paper, content, now_ms())
                if receipt is not None:
                    filing.note_filed(session, facts, system(), receipt, now_ms())
        except (ValueError, OSError) as fault:
            raise SettingsError(f"{out}: {fault}") from None
        finally:
            store.close()
    typer.echo(f"{out}: {len(content)} bytes")
