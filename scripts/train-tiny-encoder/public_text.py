"""Sentences in the public domain, out of Debian packages that were unpacked into one folder:

    mkdir debs && cd debs && apt-get download dict-jargon dict-devil sqlite3-doc
    for package in *.deb; do dpkg-deb -x "$package" .; done

dict-jargon: the Jargon File, in the public domain by its authors. dict-devil: The Devil's
Dictionary by Ambrose Bierce (1911), copyright expired. sqlite3-doc: the documentation of SQLite,
in the public domain by its authors. Only the texts are read, nothing of the packaging."""

import gzip
import html
import random
import re
from pathlib import Path

SHARES = {"jargon": 5000, "devil": 2500, "sqlite": 3500, "sql": 1000}


def dictionary(folder, name):
    """The text of a dictd dictionary (dictzip is gzip with an index in its header)."""
    path = Path(folder) / "usr/share/dictd" / f"{name}.dict.dz"
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    return re.sub(r"[{}_]", "", text)


def sentences(text):
    """Splits paragraphs into sentences of 4 to 60 words."""
    for paragraph in re.split(r"\n\s*\n", text):
        flat = " ".join(paragraph.split())
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z“\"(])", flat):
            if 4 <= len(sentence.split()) <= 60 and len(sentence) <= 400:
                yield sentence


def sqlite_pages(folder):
    """The pages of the SQLite documentation, in order of name."""
    pages = sorted((Path(folder) / "usr/share/doc/sqlite3").rglob("*.html"))
    for page in pages:
        yield page.read_text("utf-8", "replace")


def prose_of(page):
    """The paragraphs of a page without markup."""
    page = re.sub(r"(?s)<(script|style|pre|svg|table)\b.*?</\1>", "\n\n", page)
    page = re.sub(r"<(/?p|/?h\d|/?li|/?div|br|/?ul|/?dd|/?dt)\b[^>]*>", "\n\n", page)
    return html.unescape(re.sub(r"<[^>]+>", "", page))


def code_of(page):
    """The lines of code of a page that say something."""
    for block in re.findall(r"(?s)<pre[^>]*>(.*?)</pre>", page):
        text = html.unescape(re.sub(r"<[^>]+>", "", block))
        for line in re.split(r"\n\s*\n|;\s*\n", text):
            line = " ".join(line.split())
            if 20 <= len(line) <= 200:
                yield line


def public_sentences(folder, seed):
    """List of sentences, at most `SHARES` of each source, in an order that the seed gives."""
    pages = list(sqlite_pages(folder))
    sources = {
        "jargon": sentences(dictionary(folder, "jargon")),
        "devil": sentences(dictionary(folder, "devil")),
        "sqlite": (s for page in pages for s in sentences(prose_of(page))),
        "sql": (line for page in pages for line in code_of(page)),
    }
    out = []
    for name, found in sources.items():
        distinct = list(dict.fromkeys(found))
        random.Random(f"{seed}/{name}").shuffle(distinct)
        out.extend(distinct[: SHARES[name]])
    return out
