# SPDX-License-Identifier: Apache-2.0
"""`testbed schema`: what an experiment file may say, for editors and for people."""

import json

import click


@click.command()
@click.option("--markdown", is_flag=True, help="Print the reference page instead of JSON Schema.")
def schema(markdown: bool) -> None:
    """Print the JSON Schema of experiment files.

    Example: testbed schema > experiment.schema.json
    """
    from testbed.spec.model import ExperimentSpec
    from testbed.spec.reference import reference_page

    if markdown:
        click.echo(reference_page(), nl=False)
        return
    found = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ExperimentSpec.model_json_schema(by_alias=True),
    }
    click.echo(json.dumps(found, indent=2))
