"""Who may import whom: the arrows between our folders, and who may touch the heavy libraries."""

import ast
import configparser
import importlib.metadata
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

ARROWS = {  # folder -> the folders of ours that it may import, beside itself
  'envs': set(),
  'networks': set(),
  'replay': set(),
  'probes': {'networks'},
  'agents': {'networks', 'probes', 'replay'},
}
ONLY_IN = {  # library -> the modules that may import it
  'ale_py': {'envs/atari.py'},
  'dm_control': {'envs/control.py'},
  'imageio_ffmpeg': {'agents/video.py'},
  'ray': {'agents/distributed/ray_engine.py'},
  'rlax': {'agents/rlax_alone.py'},
  'reverb': {'replay/reverb_client.py', 'replay/reverb_server.py'},
  'tensorflow': {'replay/reverb_client.py', 'replay/reverb_server.py'},
}
MODULES = sorted(path.relative_to(ROOT).as_posix()
                 for pattern in (*(f'{folder}/**/*.py' for folder in ARROWS), '*.py')
                 for path in ROOT.glob(pattern))


def imported(source: str) -> set[str]:
  """Top-level names of the packages that `source` imports anywhere in its text."""
  names = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      names.add('.' if node.level else node.module)
  return {name.split('.')[0] for name in names}


def wrong_arrows(module: str, source: str) -> list[str]:
  """The imports of `module` (its path from the root) that break a rule, as 'module -> name'."""
  folder = module.split('/')[0]
  entry_points = {path.stem for path in ROOT.glob('run_*.py')}
  forbidden = {'tests', 'benchmarks', ''} | entry_points
  if folder in ARROWS:
    forbidden |= ARROWS.keys() - ARROWS[folder] - {folder}
  forbidden |= {library for library, modules in ONLY_IN.items() if module not in modules}
  return [f'{module} -> {name or "a relative import"}'
          for name in sorted(imported(source) & forbidden)]


@pytest.mark.parametrize('module', MODULES)
def test_every_arrow_is_allowed(module):
  assert not wrong_arrows(module, (ROOT / module).read_text(encoding='utf-8'))


@pytest.mark.parametrize('module, source, arrow', [
  ('agents/learner.py', 'from envs import atari', 'agents/learner.py -> envs'),
  ('agents/learner.py', 'import envs.atari as e', 'agents/learner.py -> envs'),
  ('replay/local.py', 'def f():\n  from networks import types', 'replay/local.py -> networks'),
  ('envs/catch.py', 'import ale_py.vector_env', 'envs/catch.py -> ale_py'),
  ('envs/catch.py', 'import tests.helpers', 'envs/catch.py -> tests'),
  ('envs/catch.py', 'from . import types', 'envs/catch.py -> a relative import'),
  ('run_atari.py', 'import reverb', 'run_atari.py -> reverb'),
  ('agents/distributed/driver.py', 'import ray', 'agents/distributed/driver.py -> ray'),
])
def test_a_wrong_arrow_is_named(module, source, arrow):
  assert wrong_arrows(module, source) == [arrow]


def normalize(distribution: str) -> str:
  return re.sub(r'[-_.]+', '-', distribution).lower()


@pytest.mark.reverb
def test_a_start_waits_for_tensorflow_only_where_reverb_needs_it():
  code = 'import sys, agents.cli; print("tensorflow" in sys.modules); import tensorflow.compat.v1'
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
  assert (done.returncode, done.stdout) == (0, 'False\n'), done.stderr


def test_what_is_imported_is_declared_and_the_reverse():
  setup = configparser.ConfigParser()
  setup.read(ROOT / 'setup.cfg', encoding='utf-8')
  extras = setup['options.extras_require']
  declared = setup['options']['install_requires'] + extras['reverb'] + extras['video']
  declared += extras['distributed']
  declared = {normalize(re.match(r'[\w-]*', line)[0])
              for line in declared.splitlines() if line and not line.startswith('#')}
  distributions = importlib.metadata.packages_distributions()
  known = sys.stdlib_module_names | ARROWS.keys() | {path.stem for path in ROOT.glob('*.py')}
  used = set()
  for module in MODULES:
    for name in imported((ROOT / module).read_text(encoding='utf-8')) - known:
      owners = {normalize(owner) for owner in distributions.get(name, [])}
      assert not owners or owners & declared, f'{module} imports {name}, which setup.cfg lacks'
      used |= owners
  # The last two are declared for the sake of ale-py and dm-control.
  installed = {normalize(found.name) for found in importlib.metadata.distributions()}
  assert not (declared & installed) - used - {'gymnasium', 'mujoco'}
