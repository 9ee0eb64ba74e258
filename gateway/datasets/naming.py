"""The names of the classes of a data set: one spelling each, and what is odd about them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from datafiles.names import clean_name
from datafiles.rejected import RejectedFile
from gateway.datasets.source import Entry
from servicekit.escaping import escaped

_MOST_NAMED = 10


@dataclass
class ClassNames:
    """Spells class names alike and remembers how they were written; one for all splits."""

    spellings: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def cleaned(self, entry: Entry) -> Entry | RejectedFile:
        """Returns the entry with the name of its class as `clean_name` spells it."""
        name = clean_name(entry.class_name)
        if not name:
            message = f"{entry.path}: the name of its class is invisible; rename the class"
            return RejectedFile(entry.path, "NO_CLASS", message)
        if escaped(name) != name:
            message = f"{entry.path}: the name of its class holds control characters; rename it"
            return RejectedFile(entry.path, "BAD_CLASS_NAME", message)
        self.spellings[name].add(entry.class_name)
        return replace(entry, class_name=name)

    def warnings(self) -> Iterator[str]:
        """Yields a sentence for each class that was written otherwise, and for names alike."""
        for name, written in sorted(self.spellings.items()):
            others = sorted(written - {name})
            if others:
                shown = ", ".join(map(ascii, others))
                what = "is also written" if name in written else "is written"
                verb = "they are one class" if len(written) > 1 else "it is read as that"
                yield f"the class {name!r} {what} {shown}; {verb}"
        alike: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self.spellings):
            alike[name.casefold()].append(name)
        for names in alike.values():
            if len(names) > 1:
                yield f"the classes {named(names)} differ by case only; rename one if they are one"


def named(names: Iterable[str]) -> str:
    """Returns some names in quotes, for a sentence."""
    every = [repr(name) for name in names]
    rest = f" and {len(every) - _MOST_NAMED} more" if len(every) > _MOST_NAMED else ""
    return ", ".join(every[:_MOST_NAMED]) + rest
