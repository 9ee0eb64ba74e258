"""Names of classes: one spelling for what looks the same."""

import unicodedata

# Marks without width that no writing needs between its letters: byte-order mark, zero-width space,
# word joiner, direction marks, soft hyphen. Joiners (U+200C, U+200D) spell, so they stay.
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060\u200e\u200f\u00ad"))


def clean_name(text: str) -> str:
    """Returns the name as it is compared and shown; "" if nothing of it can be seen.

    Letters are composed (Unicode NFC), so that "Zürich" is one class whichever system wrote it;
    white space at the ends goes, that within becomes single spaces, and marks that cannot be seen
    go. Case stays: "Polish" is not "polish". Applying it again changes nothing.
    """
    return " ".join(unicodedata.normalize("NFC", text.translate(_INVISIBLE)).split())
