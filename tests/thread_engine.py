"""An engine whose roles are threads of the test's own process, and can be said to have died."""

import contextlib
import threading

from agents.distributed import driver, host

DEADLINE = 40.0


class _Stop(threading.Event):
  """Ends the thread that looks at it, once that is to be dead."""
  dead = False

  def is_set(self):
    if self.dead:
      raise SystemExit
    return super().is_set()

  def wait(self, timeout=None):
    result = super().wait(timeout)
    if self.dead:
      raise SystemExit
    return result


class ThreadEngine:
  """Keeps `driver.Engine`'s protocol."""

  def __init__(self):
    self._hosts = {}
    self._events = []
    self._news = threading.Condition()
    self.started = []  # (name, arguments after the job), in order
    self.jobs = []  # of the learner's starts
    self.hung = set()  # names of those that say nothing, until they are killed
    self.spoken = set()  # names of those that once did

  def start(self, name, role, arguments):
    job, *rest = arguments
    with self._news:
      assert name not in self._hosts
      self.started.append((name, *rest))
      if role == 'learner':
        self.jobs.append(job)
      one = self._hosts[name] = host.Host()
      one._stop = _Stop()
    one.thread = threading.Thread(
        target=self._run, args=(one, name, role, arguments), daemon=True)
    one.thread.start()

  def _run(self, one, name, role, arguments):
    with contextlib.suppress(SystemExit):
      self._tell(one, driver.Event(name, end=one.run(role, arguments)))

  def _tell(self, one, event):
    with self._news:
      if self._hosts.get(event.name) is one:
        del self._hosts[event.name]
        self._events.append(event)
        self._news.notify()

  def watch(self, timeout_s):
    with self._news:
      self._news.wait_for(lambda: self._events, timeout_s)
      said = [driver.Event(name, said=one.say()._replace(records=[]))
              for name, one in self._hosts.items() if name not in self.hung]
      self.spoken |= {event.name for event in said}
      events, self._events = said + self._events, []
      return events

  def stop(self, name):
    self._hosts[name].stop()

  def kill(self, name):
    with self._news:
      self._events = [event for event in self._events if event.name != name]
      one = self._hosts.pop(name, None)
      self.hung.discard(name)
    if one:
      _end(one, name)

  def die(self, name):
    """As after kill -9: what it does from now on nobody hears of."""
    one = self._hosts[name]
    _end(one, name)
    self._tell(one, driver.Event(name, death='killed by the test'))


def _end(one, name):
  """A learner must be gone before the next one comes, since both write the same files."""
  one._stop.dead = True
  one.stop()
  if name == 'learner' and one.thread is not threading.current_thread():
    one.thread.join(DEADLINE)
