"""What hostile documents cost: ``python -m benchmarks.hostile`` prints the time until each is refused, or may run.

A time is the processor time, the median of a few, of a cold preparation within the default limits, with the errors as
clients get them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

from graphql import get_introspection_query

from schema import Limits, Schema
from schema.documents import Documents, RefusedError
from schema.errors import complete_errors
from tests.schema.hostile import DOCUMENTS, VARIABLES

_TIMES = 9


def milliseconds(task: Callable[[], object]) -> float:
    """The median time of a task that is done a few times."""
    times = []
    for _ in range(_TIMES):
        started = time.process_time()
        task()
        times.append(time.process_time() - started)
    return median(times) * 1_000


def prepare(schema: Schema, text: str, variables: Mapping[str, Any]) -> str:
    """Prepares a document that was never seen before, and says what came of it."""
    documents = Documents(schema._schema, Limits(), introspection=True)
    try:
        documents.prepare(text, None, variables)
    except RefusedError as refused:
        complete_errors(refused.errors, refused.document)
        json.dumps([error.formatted for error in refused.errors])
        first = (refused.errors[0].extensions or {}).get("limit") or refused.errors[0].message
        return f"{len(refused.errors)} errors: {first[:60]}"
    return "valid"


def main() -> None:
    """Prints a line for each hostile document, the slowest first."""
    schema = Schema()
    documents = {"(introspection)": get_introspection_query(), **DOCUMENTS}
    nothing: Mapping[str, Any] = {}
    cases = [(name, text, nothing) for name, text in documents.items()]
    cases += [(name, *case) for name, case in VARIABLES.items()]
    rows = []
    for name, text, variables in cases:
        came = prepare(schema, text, variables)
        spent = milliseconds(partial(prepare, schema, text, variables))
        rows.append((spent, name, len(text.encode()), came))
    print(f"{'milliseconds':>12}  {'bytes':>8}  document")
    for spent, name, size, came in sorted(rows, reverse=True):
        print(f"{spent:12.2f}  {size:8}  {name:40} {came}")


if __name__ == "__main__":
    main()
