"""Probes a run's checkpoints after the fact: python run_probe.py --run_dir=RUN --checkpoint=all.

Several runs, comma-separated, are compared:
python run_probe.py --run_dir=RUN1,RUN2 --out_dir=FOLDER.
"""

import signal
import sys

if __name__ == '__main__':  # imports take seconds, and nothing is to be saved
  signal.signal(signal.SIGINT, signal.SIG_DFL)

from agents import probe_cli, script

if __name__ == '__main__':
  sys.exit(script.main(sys.argv, probe_cli.run))
