"""Pages from templates: an .html that stands alone and an .md beside it."""

import html
import pathlib
from typing import Any, NamedTuple

import jinja2
import markupsafe

from probes import files


class Chart(NamedTuple):
  """A drawing with what is to be read around it."""
  title: str
  caption: str
  svg: markupsafe.Markup


def write(folder: pathlib.Path, name: str, context: dict[str, Any]) -> pathlib.Path:
  """Writes `name`.md and `name`.html into `folder`, each replaced whole; returns the latter."""
  environment = jinja2.Environment(
      loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
      autoescape=lambda template: template and template.endswith('.html.j2'),
      undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
  environment.filters['markdown'] = _markdown
  for file in (f'{name}.md', f'{name}.html'):
    files.write_text(folder / file, environment.get_template(f'{file}.j2').render(context))
  return folder / f'{name}.html'


def _markdown(text: str) -> str:
  """Text that stays text in a cell of a Markdown table."""
  return ' '.join(html.escape(str(text), quote=False).replace('|', '\\|').split())
