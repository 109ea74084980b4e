"""The pages for people: links lead somewhere, and commands are ones that the scripts take."""

import pathlib
import re
import shlex

import pytest

import run_atari
import run_control
import run_supervised
from agents import commands
from agents.supervised import cli as supervised

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'SECURITY.md', *(ROOT / 'docs').glob('*.md'),
         *(ROOT / 'results').rglob('README.md')]
_PARSERS = {
    'run_atari.py': lambda argv: commands.parse(run_atari.ATARI, argv),
    'run_control.py': lambda argv: commands.parse(run_control.CONTROL, argv),
    'run_supervised.py': lambda argv: supervised.parse(run_supervised.STREAMS, argv)}
_PLACEHOLDERS = re.compile(r'…|\$|\b[A-Z]{3,}\b')  # RUN, HEAD:6379


def anchors(page):
  """As GitHub makes them of headings."""
  headings = re.findall(r'^#+ (.*)$', re.sub(r'```.*?```', '', page.read_text(), flags=re.S), re.M)
  return {re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in headings}


def scripts():
  """The command lines of our scripts in blocks of code, without comments; one may be two lines."""
  for page in PAGES[:2] + list((ROOT / 'docs').glob('*.md')):
    for block in re.findall(r'^```\n(.*?)^```', page.read_text(), re.S | re.M):
      for line in block.replace('\\\n', ' ').splitlines():
        if match := re.match(r'\.venv/bin/python (run_\w+\.py .*)', line):
          found = re.sub(r'\s#.*', '', match[1]).strip()
          if not _PLACEHOLDERS.search(found):
            marks = pytest.mark.reverb if 'num_actors' in found else ()
            yield pytest.param(found, marks=marks, id=f'{page.name} {found}')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(page):
  for target in re.findall(r'\]\(([^)]+)\)', page.read_text()):
    if target.startswith('https://'):
      continue
    path, _, anchor = target.partition('#')
    found = page.parent / path if path else page
    assert found.exists(), target
    assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize('line', list(scripts()))
def test_a_command_is_taken_as_it_stands(line, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  argv = shlex.split(line)
  assert _PARSERS[argv[0]](argv)
  assert not list(tmp_path.iterdir())
