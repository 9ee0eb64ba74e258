"""Images beside a table that names them and their classes, as Hugging Face's imagefolder has it:
metadata.csv, .tsv, .jsonl or .parquet, or labels.csv and the like, or any .csv that names them.

How tables are read and which columns these are: see `datafiles.tables`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from datafiles.labels import Label, agreed, label_of, label_of_fields
from datafiles.named_files import NamedFiles
from datafiles.places.layout import check_one_split, role_of
from datafiles.places.place import Place
from datafiles.rejected import RejectedFile
from datafiles.samples import Chosen
from datafiles.suffixes import is_image, is_table, is_text_table
from datafiles.tables import FILE_COLUMNS, Row, Table, open_table
from datafiles.texts import Unreadable
from gateway.datasets.source import Entry, Found, Note
from servicekit.errors import InvalidArgument

_STEMS = ("metadata", "labels")  # of the tables that are meant, the first that there is
_LOOKED_AT = 1000  # rows of another table, for one that names a file that is there


class LabelledTableSource:
    """Takes the class of an image from the row that names it; its folders say nothing.

    A table with a column of files and one of classes goes before folders, archives and tables of
    images. One that tells no classes leaves them to the folders, if there are several.
    """

    id = "annotations"  # The first in the order of ids, so that it is asked first.

    def fits(self, place: Place, chosen: Chosen) -> bool:
        return bool(_tables(place, chosen))

    def scan(self, place: Place, field: str, chosen: Chosen) -> Iterator[Found]:
        tables = _tables(place, chosen)
        if len(tables) > 1:
            raise InvalidArgument(
                f"{place.uri} holds several tables that name images: {', '.join(tables)}. Keep "
                "one, or give those of each split a folder with its images",
                field=field,
                reason="TABLES_UNCLEAR",
            )
        path = tables[0]
        with (
            _refused(place, path, field),
            place.open(path) as file,
            open_table(path, file) as table,
        ):
            yield from _Reading(place, path, table, chosen).found()


@contextmanager
def _refused(place: Place, path: str, field: str) -> Iterator[None]:
    """Makes what is wrong with a table an InvalidArgument that names it."""
    try:
        yield
    except (Unreadable, OSError) as error:
        why = error.message if isinstance(error, Unreadable) else f"cannot be read: {error}"
        reason = error.reason if isinstance(error, Unreadable) else "UNREADABLE"
        message = f"{path} of {place.uri} {why}"
        raise InvalidArgument(message, field=field, reason=reason) from error


def _tables(place: Place, chosen: Chosen) -> list[str]:
    """Returns the tables beside the images that tell their classes, of the first name that has any.

    Those that should and cannot are among them, so that their reader reports why.
    """
    paths = [one for one in place.files() if isinstance(one, str)]
    beside = [one for one in paths if "/" not in one and (is_text_table(one) or is_table(one))]
    images = [one for one in paths if is_image(one)] or [one for one in paths if "." not in one]
    if not beside or not images:
        return []
    is_folders = len({one.partition("/")[0] for one in images if "/" in one}) > 1
    files = NamedFiles(images)
    for stem in (*_STEMS, ""):
        named = [one for one in beside if _stem(one) == stem]
        if found := [one for one in named if _tells(place, one, chosen, files, is_folders)]:
            return found
    return []


def _stem(path: str) -> str:
    """Returns which of the usual names a table has; "" for another."""
    stem = path.casefold().rpartition(".")[0]
    return stem if stem in _STEMS else ""


def _tells(place: Place, path: str, chosen: Chosen, files: NamedFiles, is_folders: bool) -> bool:
    """Says whether a table tells classes; one at fault does where nothing else would tell them."""
    is_meant, is_text = bool(_stem(path)), is_text_table(path)
    try:
        with place.open(path) as file, open_table(path, file) as table:
            name = table.column_of(chosen.image, FILE_COLUMNS)
            if not name and not is_text:
                return False  # A shard.
            if name and table.label_columns(chosen):
                return is_meant or (is_text and _names_any(table, name, files))
    except Unreadable:
        return is_text and (is_meant or not is_folders)
    except OSError:
        return is_meant
    is_chosen = bool(chosen.image or chosen.label)
    return not is_folders or (is_chosen and is_meant)


def _names_any(table: Table, column: str, files: NamedFiles) -> bool:
    for _, row in islice(table.rows, _LOOKED_AT):
        try:
            if files.find(_readable(row).get(column)):
                return True
        except Unreadable:
            continue
    return False


@dataclass
class _Reading:
    """The reading of one table; `classes` is what it says of each file that is there."""

    place: Place
    path: str
    table: Table
    chosen: Chosen
    classes: dict[str, Label | Unreadable] = field(default_factory=dict)
    # What a column of splits says, a value for each role.
    splits: dict[str | None, str] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """The column that says which split a row is of; "" if there is none."""
        return self.table.column_of("", ("split",))

    def found(self) -> Iterator[Found]:
        """Yields every image with its class, and what of table and files goes with nothing."""
        name, labels = self._columns()
        rejected, paths = {}, []
        for one in self.place.files():
            if isinstance(one, str):
                paths.append(one)
            else:
                rejected[one.path] = one
        files = NamedFiles([*paths, *rejected])
        for where, row in self.table.rows:
            problem = self._take(row, name, labels, files)
            if problem is not None:
                reason, message = problem.reason, f"{self.path} {where} {problem.message}"
                yield RejectedFile(f"{self.path} {where}", reason, message)
        check_one_split(self.split, self.splits.values())
        yield from rejected.values()
        shown = ", ".join(repr(one) for one in labels.values())
        yield Note(f"the classes of {self.place.uri} are those of {self.path}, column {shown}")
        if files.moved:
            yield Note(f"{files.moved} files of {self.path} were found by name in other folders")
        yield from (self._entry(path) for path in paths if path != self.path)

    def _columns(self) -> tuple[str, dict[str, str]]:
        name = self.table.column_of(self.chosen.image, FILE_COLUMNS)
        labels = self.table.label_columns(self.chosen)
        if name and labels:
            return name, labels
        columns = ", ".join(self.table.columns[:30])
        what = "files (--image-column, image_column)" if not name else ""
        if not labels:
            what += f"{' and ' if what else ''}classes (--label-column, label_column)"
        raise Unreadable(
            "COLUMNS_MISSING",
            f"has the columns {columns}; say which one names the {what}, or call them file_name "
            "and label. Take the table away if the folders are the classes",
        )

    def _take(
        self, found: Row, name: str, labels: dict[str, str], files: NamedFiles
    ) -> Unreadable | None:
        """Notes what a row says; returns what is wrong if it can be put down to no file."""
        try:
            row = _readable(found)
            if self.split:
                value = str(row.get(self.split) or "")
                self.splits.setdefault(role_of(value), value)
            path = files.find(row.get(name))
            if path is None:
                shown = str(row.get(name))[:200]
                raise Unreadable("FILE_MISSING", f"names {shown!r}, which does not exist")
        except Unreadable as error:
            return error
        before = self.classes.get(path)
        try:
            label = self._label(row, labels)
            if not isinstance(before, Unreadable):
                self.classes[path] = agreed([before, label]) if before else label
        except Unreadable as error:
            self.classes[path] = error
        return None

    def _label(self, row: Mapping[str, object], labels: dict[str, str]) -> Label:
        values = {kind: row.get(column) for kind, column in labels.items()}
        for value in values.values():
            if isinstance(value, Unreadable):
                raise value
        names = self.table.classes
        if (column := labels.get("class_name")) in names:
            return label_of(values["class_name"], names[str(column)])
        return label_of_fields(values, names.get(labels.get("label", ""), ()))

    def _entry(self, path: str) -> Found:
        label = self.classes.get(path)
        if label is None:
            message = f"{path} is not named in {self.path}; add a row for it"
            return RejectedFile(path, "NOT_NAMED", message)
        if isinstance(label, Unreadable):
            return RejectedFile(path, label.reason, f"{path}: {label.message} ({self.path})")
        if not label.text:
            return RejectedFile(path, "NO_CLASS", f"{path} has no class in {self.path}")
        return Entry(path, label.text, partial(self.place.read, path))


def _readable(row: Row) -> Mapping[str, object]:
    if isinstance(row, Unreadable):
        raise row
    return row


SOURCE = LabelledTableSource()
