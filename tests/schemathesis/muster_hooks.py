"""What schemathesis cannot know of the API by its description alone."""

import json

import jsonschema_rs
import schemathesis

# What is of the right form and may mean nothing all the same: a channel that is not there, a cursor of another log.
MEANT = {"after", "at", "by", "cursor", "fields", "from", "group", "of", "sort", "to", "where"}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Returns whether a failure is one: a text of the right form is refused only for what it means."""
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    problem = response.json()
    if problem.get("parameter") in MEANT:
        return False
    if problem["type"] == "urn:muster:problem:bad-group":
        # That a text is an expression no schema says.
        return False
    if problem["type"] == "urn:muster:problem:bad-label":
        # How many labels a robot has, and how many bytes a text has, no schema says.
        return "label" in problem and all(len((value or "").encode()) <= 256 for value in case.body.values())
    return True


@schemathesis.check
def each_line_fits_its_schema(ctx, response, case):
    """A description can give the schema of NDJSON, but schemathesis takes it for that of the whole body."""
    if response.headers.get("content-type", [""])[0] != "application/x-ndjson":
        return
    schema = {
        "$ref": "#/components/schemas/SampleLine",
        "components": case.operation.schema.raw_schema["components"],
    }
    validator = jsonschema_rs.validator_for(schema)
    for line in response.content.splitlines():
        validator.validate(json.loads(line))
