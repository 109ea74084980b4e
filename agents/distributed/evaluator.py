"""The role that evaluates: weights in, one evaluation at a time out."""

import threading

import jax

from agents import parts as parts_lib
from agents.display import log
from agents.distributed import job, letters

_POLL_SECONDS = 0.2


def run(the_job: job.Job, generation: int, stop: threading.Event) -> None:
  """Evaluates what is asked for until it is stopped; a new one begins an evaluation anew.

  Raises:
    ReplayError: the server does not answer.
  """
  parts = job.describe(the_job)
  replay = job.connect(the_job, parts.signature, 0)
  asked = letters.Receiver(replay.client, job.EVALUATE, the_job.epoch)
  template = jax.eval_shape(parts.model.agent.init, jax.random.key(0)).params
  log.debug('generation %d is ready', generation)
  while not stop.wait(_POLL_SECONDS):
    there = replay.count().letters[job.EVALUATE + '_version']
    letter = asked.receive() if there else None
    if letter is None or not letter.blob:
      continue
    frame = int(letter.numbers[0])
    found = parts_lib.evaluate(
        parts, letters.unpack(template, letter.blob), frame, stop, lambda done: None)
    if found:
      replay.client.put(job.EVALUATED, (the_job.epoch, frame, *found))
