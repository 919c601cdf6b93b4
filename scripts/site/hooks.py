"""What the site of `docs/` has beside its files: the first page, the reference of the commands, lists of errors and
decisions, what pages link to elsewhere in the tree, and `llms.txt` (llmstxt.org). MkDocs calls these by their names."""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from typer.testing import CliRunner

from fiso_cli.commands import Group
from fiso_cli.main import COMMANDS, app

ROOT = Path(__file__).parents[2]
EDGES = ("orchestrator", "console")
TREE = "tree/"
"""Where files of the tree stand that are no pages."""
_LINK = re.compile(r"(\]\()([^)\s#]+)([^)]*\))")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_STATUS = re.compile(r"^`(\d{3})`", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    made = {
        "index.md": _moved(ROOT / "README.md", ""),
        "reference/commands.md": _commands(),
        "reference/errors.md": _errors(),
        "reference/api.md": _api(),
        "decisions/index.md": _decisions(),
    }
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    for edge in EDGES:
        place = ROOT / "functions" / edge / "openapi.yaml"
        files.append(File.generated(config, f"reference/{edge}.yaml", abs_src_path=str(place)))
    for name in sorted(set(_linked(files, made))):
        if name.endswith(".md"):
            files.append(File.generated(config, TREE + name, content=_moved(ROOT / name, "../")))
        else:
            files.append(File.generated(config, TREE + name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of `docs/` lead to the file's copy in the site; a folder's to its list, where there is one."""
    folder = posixpath.dirname(page.file.src_uri)

    def site(found: re.Match[str]) -> str:
        place = _outside(folder, found[2])
        if place is None:
            return found[0]
        return found[1] + posixpath.relpath(TREE + place, folder or ".") + found[3]

    return _LINK.sub(site, markdown).replace("](decisions/)", "](decisions/index.md)")


def on_post_build(config: MkDocsConfig) -> None:
    Path(config.site_dir, "llms.txt").write_text(_LISTED["text"], encoding="utf-8")


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    lines = [f"# {config.site_name}", "", f"> {config.site_description}"]
    for section in nav.items:
        pages = section.children if section.is_section else [section]
        lines += ["", f"## {section.title if section.is_section else 'First'}", ""]
        lines += [f"- [{_title_of(page.file)}]({page.file.url})" for page in pages or () if isinstance(page, Page)]
    _LISTED["text"] = "\n".join(lines) + "\n"
    return nav


def _moved(page: Path, up: str) -> str:
    """A page of the tree's top, where `docs/` is `up`."""
    text = page.read_text(encoding="utf-8").replace("](docs/", f"]({up}")
    return text.replace("](../decisions/)", "](../decisions/index.md)")


_LISTED: dict[str, str] = {}


def _title_of(file: File) -> str:
    found = _TITLE.search(file.content_string)
    return found[1] if found else file.src_uri


def _linked(files: Files, made: dict[str, str]) -> Iterator[str]:
    """Files of the tree outside `docs/` that a page links to."""
    texts = [(file.src_uri, file.content_string) for file in files.documentation_pages() if file.src_uri not in made]
    for uri, text in [*texts, *made.items()]:
        for found in _LINK.finditer(text):
            place = _outside(posixpath.dirname(uri), found[2])
            if place is not None:
                yield place


def _outside(folder: str, target: str) -> str | None:
    """The file of the tree that a link of a page leads to, by its path in the tree; None where it stays in `docs/`."""
    if ":" in target:
        return None
    place = posixpath.normpath(posixpath.join("docs", folder, target))
    if not folder and (ROOT / target).is_file() and not (ROOT / place).exists():
        place = target  # the first page stands at the top of the tree
    return None if place.startswith("docs/") or not (ROOT / place).is_file() else place


def _errors() -> str:
    rows = []
    for file in sorted((ROOT / "docs/errors").glob("*.md")):
        text = file.read_text(encoding="utf-8")
        (title,), (status,) = _TITLE.findall(text), _STATUS.findall(text)
        rows.append(f"| {status} | [{title}](../errors/{file.name}) | {text.split(chr(10) * 2)[2]} |")
    head = [
        "# Errors",
        "",
        "Each is `application/problem+json` (RFC 9457); the last word of `type` names its page.",
        "",
    ]
    return "\n".join([*head, "| status | error | when |", "|---|---|---|", *sorted(rows), ""])


def _decisions() -> str:
    files = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    titles = [(file.name, _TITLE.findall(file.read_text(encoding="utf-8"))[0]) for file in files]
    return "\n".join(["# Decisions", "", *(f"- [{title}]({name})" for name, title in titles), ""])


def _commands() -> str:
    """Every command's own help, as a terminal of 80 columns shows it."""
    parts = [
        "# Commands",
        "",
        "Each takes `--json`. A failure is one line and exit code 1; what was asked wrongly, 2.",
        "",
    ]
    for name, entry in COMMANDS.items():
        words = [[name], *([name, word] for word in entry.commands)] if isinstance(entry, Group) else [[name]]
        for each in words:
            shown = CliRunner().invoke(app, [*each, "--help"], prog_name="fiso", env={"COLUMNS": "80"}).stdout.rstrip()
            parts += [f"{'#' * (len(each) + 1)} fiso {' '.join(each)}", "", "```text", shown, "```", ""]
    return "\n".join(parts)


def _api() -> str:
    """Every operation of both descriptions, and what a record of the log holds."""
    parts = ["# HTTP API", "", "As OpenAPI 3.1: " + ", ".join(f"[{edge}]({edge}.yaml)" for edge in EDGES) + ".", ""]
    for edge in EDGES:
        described = yaml.safe_load((ROOT / "functions" / edge / "openapi.yaml").read_text(encoding="utf-8"))
        parts += [f"## {described['info']['title']}", "", described["info"].get("description", ""), ""]
        parts += ["| method | path | |", "|---|---|---|"]
        for path, methods in described["paths"].items():
            parts += [
                f"| {method.upper()} | `{path}` | {told['summary']} |"
                for method, told in methods.items()
                if "summary" in told
            ]
        for name, schema in described.get("components", {}).get("schemas", {}).items():
            rows = [
                f"| `{each}` | {_kind(said)} | {said.get('description', '')} |"
                for each, said in schema.get("properties", {}).items()
            ]
            parts += ["", f"### {name}", "", "| field | type | |", "|---|---|---|", *rows] if rows else []
        parts.append("")
    return "\n".join(parts).replace("\n ", "\n")


def _kind(schema: dict[str, object]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    kind = schema.get("type", "")
    return " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)
