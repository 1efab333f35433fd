"""Sphinx's settings: ``python -m sphinx -W docs build/docs`` with the extra `docs`. The pages read without a build."""

import re

project = "embed-once"
extensions = ["myst_parser"]
html_theme = "furo"
myst_heading_anchors = 3


def setup(app):
    """Have each page fitted to the build as it is read, so that the pages themselves hold no directive."""
    app.connect("source-read", lambda _app, docname, source: _fit(docname, source))


def _fit(docname, source):
    up = "../" * (docname.count("/") + 1)  # what lies outside of docs/ is not in the build: its name stays, no link
    source[0] = re.sub(rf"\[([^\]]+)\]\({re.escape(up)}(?!\.\./)[^)]*\)", r"\1", source[0])
    if docname.rpartition("/")[2] == "index":
        pages = dict.fromkeys(re.findall(r"\]\(([\w/-]+)\.md\)", source[0]))
        source[0] += "\n".join(["\n```{toctree}", ":hidden:", "", *pages, "```\n"])
