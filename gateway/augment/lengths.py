"""What a text encoder would cut: names that are too long for it, and the ends of prompts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SHOWN, _SHOWN_LENGTH = 5, 200


@dataclass(frozen=True)
class PromptLengths:
    """Different prompts that were looked at, how many are cut, and the encoder's limit in tokens.

    `examples` are some of those that are cut.
    """

    prompt_count: int = 0
    cut_count: int = 0
    token_limit: int = 0
    examples: tuple[str, ...] = ()

    def with_more(self, other: "PromptLengths") -> "PromptLengths":
        """Returns the figures of these prompts and of others of the same encoder."""
        return PromptLengths(
            self.prompt_count + other.prompt_count,
            self.cut_count + other.cut_count,
            other.token_limit,
            (*self.examples, *other.examples)[:_SHOWN],
        )

    def notice(self, model: str) -> str:
        """Returns what people should know; empty if nothing is cut."""
        if not self.cut_count:
            return ""
        return (
            f"{self.cut_count} of {self.prompt_count} prompts are longer than the "
            f"{self.token_limit} tokens that the text encoder of {model!r} reads: their ends are "
            f"cut, for example of {self.examples[0]!r}"
        )


NO_PROMPTS = PromptLengths()


def lengths_of(texts: Sequence[str], counts: Sequence[int], limit: int) -> PromptLengths:
    """Returns the figures of different prompts, given the tokens of each."""
    cut = [text for text, count in zip(texts, counts, strict=True) if count > limit]
    examples = tuple(text[:_SHOWN_LENGTH] for text in cut[:_SHOWN])
    return PromptLengths(len(texts), len(cut), limit, examples)


def most_of_name(limit: int) -> int:
    """Returns how many tokens a class's name may have, its begin and end among them.

    Half of what the encoder reads: the words before it and what it is beside have the rest.
    """
    return max(limit // 2, 3)


def shorter_names(name: str) -> list[str]:
    """Returns the beginnings of a name that end between words, the longest first."""
    words = name.split(" ")
    ends: Iterable[int] = range(len(words) - 1, 0, -1)
    shorter = [" ".join(words[:end]).rstrip(" ,;:-(") for end in ends]
    # A single word that is too long is cut inside.
    return [*shorter, *(words[0][:length] for length in (24, 16, 12, 8) if length < len(words[0]))]
