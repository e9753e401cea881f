"""What a page is made of, as far as it matters to who does not see it."""

from html.parser import HTMLParser


class Outline(HTMLParser):
    """The tags of an HTML text with their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each such tag."""
        return [attributes for name, attributes in self.tags if name == tag]

    def count(self, tag: str) -> int:
        return len(self.all(tag))
