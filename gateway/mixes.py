"""Several methods in one run, as text: "mvc:0.5,simple:0.5" is half of each class's images by each.

What people write, on the command line, in a study file or in a request, is read here and nowhere
else. A share is a decimal or a fraction ("1/3"), and all add up to 1.
"""

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

WHOLE = Fraction(1)
# Methods of a mix.
MOST = 8
_SHARE = re.compile(r"\d{0,3}\.?\d{1,12}|\d{1,6}/[1-9]\d{0,5}", re.ASCII)
_FORM = "write METHOD:SHARE,METHOD:SHARE with shares that add up to 1, such as mvc:0.5,simple:0.5"


def read_mix(text: str) -> list[tuple[str, Fraction]]:
    """Returns the methods of a text with their shares: one id alone has all of the images.

    Raises ValueError with a sentence for any other form, for shares that do not add up to 1, and
    for a method that is there twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and ":" not in text:
        return [(parts[0], WHOLE)]
    found = [(part.rpartition(":")[0].strip(), _share_of(part, text)) for part in parts]
    total = sum(share for _, share in found)
    if total != WHOLE:
        raise ValueError(f"the shares of {text!r} add up to {float(total):.6g}; {_FORM}")
    if len(found) > MOST:
        raise ValueError(f"{text!r} mixes {len(found)} methods; at most {MOST} are mixed")
    check_once([name for name, _ in found], text)
    return found


def check_once(names: Sequence[str], text: str) -> None:
    """Raises ValueError if a mix has a method twice, which would make the same images twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{text!r} has the method {twice[0]!r} twice; add its shares up")


def gathered(names: Iterable[str]) -> list[str]:
    """Returns a list of methods in which a mix was cut at its commas, with its parts together.

    Parts with a share follow one another until they add up to 1: of "simple", "mvc:0.5",
    "boomerang:0.5" the last two are one mix. Raises ValueError where they never do.
    """
    found: list[str] = []
    open_: list[str] = []
    for name in names:
        if ":" not in name:
            if open_:
                read_mix(",".join(open_))  # Says what is wrong with it.
            found.append(name)
            continue
        open_.append(name)
        text = ",".join(open_)
        if sum(_share_of(part, text) for part in open_) >= WHOLE:
            read_mix(text)
            found.append(text)
            open_ = []
    if open_:
        read_mix(",".join(open_))
    return found


def apportioned(count: int, shares: Sequence[Fraction]) -> list[int]:
    """Shares a number out by largest remainder; of equal remainders the first gets more."""
    exact = [count * share for share in shares]
    whole = [int(one) for one in exact]
    order = sorted(range(len(shares)), key=lambda number: whole[number] - exact[number])
    for number in order[: count - sum(whole)]:
        whole[number] += 1
    return whole


def _share_of(part: str, text: str) -> Fraction:
    name, _, written = part.rpartition(":")
    share = Fraction(0)
    if _SHARE.fullmatch(written.strip()):
        share = Fraction(written.strip())
    if not name.strip() or not 0 < share <= 1:
        raise ValueError(f"{part!r} of {text!r} has no share in (0, 1]; {_FORM}")
    return share
