"""All commands about model packages under one name.

Each file beside this one holds some of them; a new one is registered here by its line.
"""

from __future__ import annotations

import typer

from appliance.cli import (
    model_bench,
    model_check,
    model_import,
    model_new,
    model_quantise,
    model_shadow,
    model_triton,
    model_versions,
)

app = typer.Typer(name="model", help="Work with model packages.", no_args_is_help=True)

# Making a package.
app.command("new")(model_new.new)
app.command("record")(model_new.record_cases)
app.command("check")(model_check.check)
app.command("pack")(model_check.pack_package)
app.command("import")(model_import.import_onnx)
app.command("import-monai")(model_import.import_monai)
app.command("export-triton")(model_triton.export_triton)

# Packages on a box.
app.command("list")(model_versions.list_models)
app.command("install")(model_versions.install)
app.command("activate")(model_versions.activate)
app.command("rollback")(model_versions.rollback)
app.command("retire")(model_versions.retire)
app.command("remove")(model_versions.remove)
app.add_typer(model_shadow.app, name="shadow")

# Measuring a package.
app.command("bench")(model_bench.bench)
app.command("quantise")(model_quantise.quantise)
