# SPDX-License-Identifier: Apache-2.0
"""CSV tables, each declared once by its columns: written, read and checked from the declaration."""

import csv
import io
import math
import os
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence

from mrc.util import files
from mrc.util.errors import InputError

_MOST_SHOWN = 80  # characters of a value in a message


def path_in(folder: str, name: str, remedy: str) -> str:
    """Returns the path of a file that `folder` must have; `remedy` says how to write it."""
    path = os.path.join(folder, name)
    if not files.exists(path):
        raise InputError(f"{folder} has no {name}; {remedy}")
    return path


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      name: its name in the first line.
      type: str, int or float; a float that is NaN is an empty field.
      spec: format of a number, as in `format`.
      least, most: bounds of a number.
      choices: the texts that are allowed; empty for any.
      is_optional: whether a table may lack it, as if all its fields were empty.
    """

    name: str
    type: type = str
    spec: str = ""
    least: float = -math.inf
    most: float = math.inf
    choices: Sequence[str] = ()
    is_optional: bool = False

    def format(self, value: Any) -> str:
        """Returns the field of a value."""
        if self.type is not float:
            return str(value)
        text = "" if math.isnan(value) else format(value, self.spec)
        return text.lstrip("-") if text and float(text) == 0.0 else text  # -0.0000 is rounding

    def parse(self, field: str) -> Any:
        """Returns the value of a field; raises a ValueError that says what was expected."""
        if self.type is str:
            if self.choices and field not in self.choices:
                raise ValueError("one of " + ", ".join(choice for choice in self.choices if choice))
            return field
        if self.type is float and not field:
            return math.nan
        try:
            value = self.type(field)
        except ValueError:
            value = math.nan
        if not self.least <= value <= self.most or math.isinf(value):  # NaN is not within
            number = "a whole number" if self.type is int else "a number"
            low = f" from {self.least:g}" if self.least > -math.inf else ""
            high = f" to {self.most:g}" if self.most < math.inf else ""
            raise ValueError(number + low + high)
        return value


class Table(NamedTuple):
    """A kind of table.

    Attributes:
      what: what it is, for messages.
      remedy: what to do about a file that is not one.
      columns: its columns; a file may have others, too.
    """

    what: str
    remedy: str
    columns: Sequence[Column]

    def to_csv(self, rows: Iterable[Sequence]) -> str:
        """Returns the text of the table; a row has a value for each column."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        for row in rows:
            writer.writerow([column.format(value) for column, value in zip(self.columns, row)])
        return text.getvalue()

    def read(self, path: str) -> List[list]:
        """Returns the rows of the file at `path`, a value for each column; raises `InputError`."""
        return self.parse(path, self.read_fields(path))

    def read_fields(self, path: str) -> Dict[int, List[str]]:
        """Returns {line: its fields}, the names of the columns first, without blank lines."""
        text = files.read_text(path, self.what)
        reader = csv.reader(io.StringIO(text))
        try:
            # The csv module of Python 3.11 accepts U+0000.
            lines = {} if "\0" in text else {reader.line_num: row for row in reader if row}
        except csv.Error:
            lines = {}
        if not lines:
            raise InputError(f"{path} is not a {self.what}; {self.remedy}")
        return lines

    def parse(self, path: str, lines: Dict[int, List[str]]) -> List[list]:
        """Returns the rows of `read_fields`, a value for each column."""
        names, *_ = lines.values()
        missing = [column.name for column in self.columns if column.name not in names and not column.is_optional]
        if missing:
            raise InputError(
                f"{path} is not a {self.what} of this version: it lacks the column"
                f"{'s' if len(missing) > 1 else ''} {', '.join(missing)}; {self.remedy}"
            )
        places = {name: place for place, name in enumerate(names)}
        rows = []
        for line, fields in list(lines.items())[1:]:
            if len(fields) != len(names):
                raise InputError(
                    f"{path}, line {line} has {len(fields)} columns, but the first line has {len(names)}; {self.remedy}"
                )
            by_column = [fields[places[column.name]] if column.name in places else "" for column in self.columns]
            rows.append(self._values(path, line, by_column))
        return rows

    def _values(self, path, line, fields):
        values = []
        for column, field in zip(self.columns, fields):
            try:
                values.append(column.parse(field))
            except ValueError as expected:
                raise InputError(
                    f'{path}, line {line}: {column.name} is "{field[:_MOST_SHOWN]}", not ' f"{expected}; {self.remedy}"
                )
        return values
