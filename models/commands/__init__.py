"""The command line of the models: `cityeye-models list | info | verify | pull | import | count | evaluate | …`.

Comes in: what a person typed. Goes out: lines, or one JSON object per line; exit 1 where something was found wrong, 2
where a command could not be carried out.
"""

import typer

from models.commands import files, making, photos, tuning

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _common() -> None:
    """Model files: which there are, which licence each has, how good and how fast they are here."""


app.command("list")(files.list_models)
app.command("info")(files.info)
app.command("verify")(files.verify)
app.command("pull")(files.pull)
app.command("import")(files.import_file)
app.command("count")(photos.count)
app.command("evaluate")(photos.evaluate_model)
app.command("compare")(photos.compare_models)
app.command("tune")(tuning.tune)
app.command("quantise")(tuning.quantise)
app.command("export")(making.export)
app.command("train")(making.train)
app.command("finetune")(making.finetune)


def main() -> None:
    """Entry point."""
    app()
