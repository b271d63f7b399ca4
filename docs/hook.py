"""What MkDocs needs to know of this repository: links that lead out of docs/ work on the site as they do in a clone.

MkDocs reads docs/ only. Files beyond it that pages link to become pages and pictures under their own paths; the README
is the front page.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"""(\]\(|(?:src|srcset|href)=")([^)#"\s:]+)""")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what no page needs to link to, and each file of the repository that one links to."""
    wanted = ["README.md", "CHANGELOG.md", *(file.src_uri for file in files.documentation_pages())]
    for name in wanted:  # grows
        file = files.get_file_from_path(name)
        if file is None:
            file = File(
                name, str(ROOT), config.site_dir, config.use_directory_urls, inclusion=InclusionLevel.NOT_IN_NAV
            )
            files.append(file)
        if name.endswith(".md"):
            paths = linked(file.content_string, repository_path(name))
            wanted += sorted({site_path(path) for path in paths} - set(wanted))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between files of the site."""
    return rewritten(markdown, repository_path(page.file.src_uri))


def rewritten(text: str, path: str) -> str:
    """Return the Markdown of a file of the repository with links as its page on the site needs them."""

    def replace(match: re.Match[str]) -> str:
        target = target_of(match[2], path)
        if target is None:
            return match[0]
        return match[1] + posixpath.relpath(site_path(target), posixpath.dirname(site_path(path)))

    return LINK.sub(replace, text)


def linked(text: str, path: str) -> Iterator[str]:
    """Yield the files of the repository to which the Markdown of one of them links."""
    return filter(None, (target_of(link, path) for _, link in LINK.findall(text)))


def target_of(link: str, path: str) -> str | None:
    """Return the file of the repository to which a link in one of them leads, or `None` if there is none."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return target if (ROOT / target).is_file() else None


def site_path(path: str) -> str:
    """Return where a file of the repository is on the site: what is in docs/ is at the top."""
    return path.removeprefix("docs/")


def repository_path(path: str) -> str:
    """Return where a file of the site is in the repository."""
    return f"docs/{path}" if (ROOT / "docs" / path).is_file() else path
