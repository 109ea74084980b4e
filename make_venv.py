"""Makes the virtual environments that the Makefile's targets run in.

    python3.11 make_venv.py .venv

Runs before anything is installed, so it imports nothing but the standard library. The folder is
emptied first and the file `ready` written last: one without it is half-made and of no use.
"""

import argparse
import pathlib
import platform
import subprocess
import sys
import time

SETS = {
  'reverb': ('.[reverb,distributed,supervised,video,test]', '--constraint=constraints-reverb.txt'),
  'open': ('.[supervised,video,test]',),
  'bench': ('.[bench]',),
  'dopamine': ('.[dopamine]',),
}
# What is installed over a set in spite of a bound that another package sets.
OVERRIDES = {'reverb': 'override-jax.txt'}


def choose_set() -> str:
  """The Reverb set where dm-reverb has a wheel, else the open set."""
  here = (platform.python_implementation(), sys.version_info[:2], sys.platform, platform.machine())
  return 'reverb' if here == ('CPython', (3, 11), 'linux', 'x86_64') else 'open'


def describe(name: str) -> str:
  if name == 'open' and choose_set() == 'open':
    return 'the open set with local replay (Reverb needs CPython 3.11 on Linux x86-64)'
  return f'the {name} set'


def make(folder: pathlib.Path, name: str) -> None:
  """Fills `folder`, or exits with what the step that failed had printed."""
  start = time.monotonic()
  print(f'Setting up {folder}, a minute or two: Python {platform.python_version()}, '
        f'{describe(name)}.', flush=True)
  install = [folder / 'bin' / 'python', '-I', '-m', 'pip', 'install',
             '--disable-pip-version-check', '--progress-bar=off']
  run([sys.executable, '-m', 'venv', '--clear', folder])
  run([*install, '--editable', *SETS[name]])
  if name in OVERRIDES:
    run([*install, '--no-deps', f'--requirement={OVERRIDES[name]}'])
  seconds = time.monotonic() - start
  (folder / 'setup-seconds').write_text(f'{seconds:.1f}\n', encoding='utf-8')
  (folder / 'ready').touch()
  print(f'Set up {folder} in {seconds:.0f} s.', flush=True)


def run(command: list) -> None:
  """Runs a quiet command, whose output is wanted only where it fails."""
  done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  if done.returncode:
    sys.exit(f'{done.stdout}\nset-up failed: {" ".join(map(str, command))}')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('folder', type=pathlib.Path, help='emptied first')
  parser.add_argument('--set', choices=SETS, default=choose_set(), help='default: %(default)s')
  arguments = parser.parse_args()
  try:
    import ensurepip  # noqa: F401  Debian keeps it in a package of its own.
  except ImportError:
    version = '{}.{}'.format(*sys.version_info)
    sys.exit(f'Python {version} cannot make a virtual environment, ensurepip is missing: '
             f'install python{version}-venv (Debian, Ubuntu) or another Python {version}')
  try:
    make(arguments.folder, arguments.set)
  except KeyboardInterrupt:
    sys.exit('interrupted: the next `make` starts the set-up anew')


if __name__ == '__main__':
  main()
