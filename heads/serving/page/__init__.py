"""The page that people use: plain HTML, one script and one style, sent as they lie here."""

__all__: list[str] = []
