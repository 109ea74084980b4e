"""The installation: pins, packages, the making of an environment, the libraries together."""

import configparser
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import re
import subprocess
import sys

import pytest

import make_venv

ROOT = pathlib.Path(__file__).parents[1]
CONSTRAINTS, OVERRIDE = ROOT / 'constraints-reverb.txt', ROOT / 'override-jax.txt'


def pins(path: pathlib.Path) -> dict[str, str]:
  lines = path.read_text(encoding='utf-8').splitlines()
  return dict(line.split('==') for line in lines if not line.startswith('#'))


def overridden() -> dict[str, str]:
  """The pins of the Reverb set that do not hold where a newer JAX is installed over them."""
  newer = pins(OVERRIDE)
  return newer if importlib.metadata.version('jax') == newer['jax'] else {}


def setup_cfg() -> configparser.ConfigParser:
  parser = configparser.ConfigParser()
  parser.read(ROOT / 'setup.cfg', encoding='utf-8')
  return parser


def make(*arguments: str) -> subprocess.CompletedProcess:
  """`make` in the checkout, without the settings of the `make` that runs the tests."""
  environment = {name: value for name, value in os.environ.items() if not name.startswith('MAKE')}
  return subprocess.run(['make', *arguments], cwd=ROOT, env=environment, capture_output=True,
                        text=True, timeout=60)


@pytest.mark.parametrize('name', make_venv.SETS)
def test_what_is_installed_and_what_over_it(name, tmp_path, monkeypatch):
  commands = []
  monkeypatch.setattr(make_venv, 'run', lambda command: commands.append([*map(str, command)]))
  make_venv.make(tmp_path, name)
  installed = [command[5:] for command in commands if 'pip' in command]
  options = ['--disable-pip-version-check', '--progress-bar=off']
  over = [[*options, '--no-deps', f'--requirement={OVERRIDE.name}']] if name == 'reverb' else []
  assert installed == [[*options, '--editable', *make_venv.SETS[name]], *over]
  assert (tmp_path / 'ready').exists()


@pytest.mark.reverb
def test_the_reverb_set_is_the_pinned_one():
  wanted = pins(CONSTRAINTS) | overridden()
  assert {name: importlib.metadata.version(name) for name in wanted} == wanted


def test_the_override_is_of_packages_that_are_pinned():
  assert pins(OVERRIDE).keys() < pins(CONSTRAINTS).keys()


@pytest.mark.parametrize('path', [CONSTRAINTS, OVERRIDE], ids=lambda path: path.name)
def test_every_constraint_is_an_exact_pin(path):
  for line in path.read_text(encoding='utf-8').splitlines():
    assert re.fullmatch(r'#.*|[a-z0-9-]+==[0-9][\w.]*', line), line


def test_no_requirement_names_an_index():
  for name in ('setup.cfg', 'pyproject.toml', 'Makefile', 'make_venv.py', '.ci/run', CONSTRAINTS,
               OVERRIDE):
    text = (ROOT / name).read_text(encoding='utf-8')
    assert not re.search(r'https?:|index-url|find-links', text), name


def test_setup_cfg_lists_the_packages_and_the_scripts():
  options = setup_cfg()['options']
  found = sorted(path.parent.relative_to(ROOT).as_posix().replace('/', '.')
                 for pattern in ('*/__init__.py', '*/*/__init__.py') for path in ROOT.glob(pattern))
  assert options['packages'].split() == [name for name in found if name != 'tests']
  assert options['py_modules'].split() == sorted(path.stem for path in ROOT.glob('run_*.py'))


def test_python_bounds_agree():
  low, high = re.findall(r'3\.(\d+)', setup_cfg()['options']['python_requires'])
  makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
  assert f'(3, {low}) <= sys.version_info < (3, {high})' in makefile


def test_installed_packages_agree():
  check = subprocess.run([sys.executable, '-m', 'pip', 'check'], capture_output=True, text=True,
                         timeout=60)
  told = check.stdout.splitlines() if check.returncode else []
  assert bool(check.returncode) == bool(told), check.stderr
  if importlib.util.find_spec('reverb') and overridden():
    assert [re.sub('~=.*', '', line) for line in told] == [
        'tensorflow-cpu 2.15.1 has requirement ml-dtypes']
  else:
    assert told == []


@pytest.mark.parametrize('version, system, machine, chosen', [
  ((3, 11, 7), 'linux', 'x86_64', 'reverb'),
  ((3, 12, 1), 'linux', 'x86_64', 'open'),
  ((3, 11, 7), 'linux', 'aarch64', 'open'),
  ((3, 11, 7), 'darwin', 'x86_64', 'open'),
])
def test_the_reverb_set_is_chosen_where_its_wheel_exists(
    monkeypatch, version, system, machine, chosen):
  monkeypatch.setattr(sys, 'version_info', version)
  monkeypatch.setattr(sys, 'platform', system)
  monkeypatch.setattr(platform, 'machine', lambda: machine)
  assert make_venv.choose_set() == chosen
  assert ('local replay' in make_venv.describe(chosen)) == (chosen == 'open')


def test_make_lists_its_targets():
  shown = make().stdout
  for target in ('setup', 'run', 'test', 'test-open', 'lint', 'bench', 'bench-updates', 'clean'):
    assert re.search(rf'^make {target} +\w', shown, re.MULTILINE), target


@pytest.mark.parametrize('python', ['no-such-python', 'false'])
def test_make_without_a_usable_python_says_what_to_install(python):
  done = make('setup', f'PYTHON={python}')
  assert done.returncode == 2
  line = done.stderr.splitlines()[0]
  assert line.startswith(f'no Python 3.11, 3.12 or 3.13 runs as: {python}. Install python3.11')


def test_missing_ensurepip_is_one_line(tmp_path):
  code = f'''import sys
sys.modules['ensurepip'] = None
sys.argv = ['make_venv.py', {str(tmp_path / 'venv')!r}]
import make_venv
make_venv.main()'''
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                        timeout=60)
  assert done.returncode == 1
  assert re.fullmatch(r'Python 3\.\d+ .* install python3\.\d+-venv .*\n', done.stderr)
  assert not (tmp_path / 'venv').exists()


def test_a_failed_step_shows_its_output():
  with pytest.raises(SystemExit) as stop:
    make_venv.run([sys.executable, '-c', 'print("the" + " cause"); raise SystemExit(3)'])
  assert 'the cause' in str(stop.value) and 'set-up failed' in str(stop.value)


@pytest.mark.reverb
# Tests that use Reverb import JAX first, most of them.
@pytest.mark.parametrize('first', ['reverb', pytest.param('jax', marks=pytest.mark.slow)])
def test_every_library_works_in_one_process(first):
  done = subprocess.run([sys.executable, 'tests/smoke.py', first], cwd=ROOT, capture_output=True,
                        text=True, timeout=100)
  assert done.returncode == 0, done.stderr
  assert done.stdout.split() == ['step_atari', 'step_control', 'learn', 'replay']
