"""How fast each part of a run goes by itself, on Pong where it is not said otherwise.

A benchmark is a generator: it prepares, then yields how much it just did, for ever.
"""

import contextlib
import itertools
import pathlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ale_py
import dm_env
import jax
import jax.numpy as jnp
import numpy as np
from ale_py import roms

import run_atari
import run_control
from agents import checkpoint as checkpoint_lib
from agents import config as config_lib
from agents import loop, parts, probing, snapshot
from agents.distributed import job, letters
from envs import atari, control
from replay import factory
from replay import types as replay_types

NUM_STORED = 5_000  # transitions that are drawn from
_EPSILON = 0.1
_WARM_UP = 5  # yields; the second or so compiles


def by_turns(
    benchmarks: Mapping[str, Iterator[int]], seconds: float,
    rounds: int) -> dict[str, list[float]]:
  """What each does in a second, once a round; all are warm first, and closed at the end."""
  rates = {name: [] for name in benchmarks}
  with contextlib.ExitStack() as stack:
    for benchmark in benchmarks.values():
      stack.enter_context(contextlib.closing(benchmark))
      warm_up(benchmark)
    for _ in range(rounds):
      for name, benchmark in benchmarks.items():
        done, took = window(benchmark, seconds)
        rates[name].append(done / took)
  return rates


def warm_up(benchmark: Iterator[int]) -> None:
  """Has it prepare and compile."""
  for _ in range(_WARM_UP):
    next(benchmark)


def window(benchmark: Iterator[int], seconds: float) -> tuple[int, float]:
  """What it does until so many seconds have passed, and how many have."""
  done, start = 0, time.perf_counter()
  while time.perf_counter() - start < seconds:
    done += next(benchmark)
  return done, time.perf_counter() - start


# What each domain's script plays, and what its config says beyond the agent's.
_DOMAINS = {
    'atari': (run_atari.task, 'pong', dict(protocol='dqn_zoo')),
    'control': (run_control.task, 'walker_walk', {})}


@contextlib.contextmanager
def build(
    agent: str, replay: str, overrides: Mapping[str, Any], interventions: Sequence[str] = (),
    domain: str = 'atari') -> Iterator[parts.Parts]:
  """The parts of a run on Pong, or on walker_walk, that writes nothing by itself."""
  make_task, name, settings = _DOMAINS[domain]
  config = config_lib.resolve(
      domain, name, agent, interventions, overrides, **settings, replay=replay,
      run_length=2**40, eval_every=0, probe_every=0, checkpoint_every=0)
  settings = parts.replay_settings(config)
  built = parts.build(
      config, make_task(config),
      lambda signature: factory.make(replay, signature, settings, run_id='bench'))
  try:
    yield built
  finally:
    built.replay.close()
    built.env.close()


def ale() -> Iterator[int]:
  """The emulator alone: frames, one action each, no preprocessing."""
  ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
  emulator = ale_py.ALEInterface()
  emulator.setInt('random_seed', 1)
  emulator.loadROM(roms.get_rom_path('pong'))
  actions = itertools.cycle(emulator.getMinimalActionSet())
  while True:
    for action in itertools.islice(actions, 100):
      emulator.act(action)
      if emulator.game_over():
        emulator.reset_game()
    yield 100


def environment() -> Iterator[int]:
  """Our environment with a fixed cycle of actions: frames, 4 each step."""
  env = atari.make('pong', 'dqn_zoo', num_envs=1, seed=1)
  actions = np.arange(env.action_spec().num_values, dtype=np.int32)
  return _stepping(env, actions[:, None], atari.FRAMES_PER_STEP)


def control_environment() -> Iterator[int]:
  """walker_walk with the same torques over and over: agent steps."""
  env = control.make('walker_walk', num_envs=1, seed=1)
  return _stepping(env, np.full((1, 1, *env.action_spec().shape), 0.5, np.float32), 1)


def _stepping(env: dm_env.Environment, actions: np.ndarray, units_per_step: int) -> Iterator[int]:
  """Steps through the first axis of `actions`, over and over again."""
  env.reset()
  try:
    for action in itertools.cycle(actions):
      env.step(action)
      yield units_per_step
  finally:
    env.close()


def actor(agent: str, domain: str, num_envs: int) -> Iterator[int]:
  """Environments and network without replay and learning: frames (Control: agent steps)."""
  small = {'replay_capacity': 100, 'min_replay_size': 1, 'num_envs': num_envs}
  units_per_step = atari.FRAMES_PER_STEP if domain == 'atari' else 1
  with build(agent, 'local', small, domain=domain) as run:
    params = run.player.agent.init(parts.key(run.config, parts.INIT)).params
    key = parts.key(run.config, parts.ACT)
    for timestep in loop.rollout(run.player, run.env, params, key, _EPSILON):
      yield units_per_step * loop.count_steps(timestep)


def control_loop(agent: str) -> Iterator[int]:
  """The whole loop on walker_walk while it learns, nothing written: agent steps."""
  with build(agent, 'local', {}, domain='control') as run:
    for progress in loop.train(
        run.player, run.env, run.accumulator, run.replay, run.config, snapshot.start(run)):
      if progress.dispatches:
        yield len(progress.dispatches) * run.config.steps_per_dispatch


def learner(
    agent: str, domain: str = 'atari', overrides: Mapping[str, Any] = {},
    replay: str = 'local') -> Iterator[int]:
  """Updates on batches that stay the same."""
  with _learning(agent, domain, overrides, replay) as (learn, state, *batch):
    done = 0
    while True:
      for _ in range(5):
        state, _, _ = learn(state, *batch)
      before, done = done, int(state.num_updates)
      yield done - before


def flop(agent: str) -> float:
  """Floating-point operations of an update, as XLA counts them."""
  with _learning(agent) as (learn, state, *batch):
    counted = learn.lower(state, *batch).compile().cost_analysis()
  return (counted[0] if isinstance(counted, list) else counted)['flops']  # older JAX: of a program


@contextlib.contextmanager
def _learning(
    agent: str, domain: str = 'atari', overrides: Mapping[str, Any] = {},
    replay: str = 'local') -> Iterator[tuple]:
  """An agent's `learn`, and what it takes."""
  small = {'replay_capacity': 100, 'min_replay_size': 1, **overrides}
  with build(agent, replay, small, domain=domain) as run:
    fill(run, 50)
    weights = np.ones(loop.weights_shape(run.config), np.float32)
    yield (run.player.agent.learn, run.player.agent.init(parts.key(run.config, parts.INIT)),
           run.replay.sample(weights.size).transition, weights)


def matrices() -> Iterator[int]:
  """Products of two matrices of 1,024 x 1,024: operations, in millions."""
  matrix, product = jnp.ones((1024, 1024)), jax.jit(jnp.matmul)
  while True:
    for _ in range(5):
      found = product(matrix, matrix)
    jax.block_until_ready(found)
    yield 5 * 2 * 1024**3 // 10**6


def replay(kind: str, prioritized: bool) -> Iterator[int]:
  """Batches drawn uniformly; or by priorities, which are then set anew."""
  settings = {'replay_capacity': NUM_STORED, 'min_replay_size': 1, 'prioritized': prioritized}
  rng = np.random.default_rng(1)
  with build('dqn', kind, settings) as run:
    fill(run, NUM_STORED)
    while True:
      sample = run.replay.sample(run.config.batch_size)
      jax.block_until_ready(sample.transition)
      if prioritized:
        run.replay.update(sample.keys, rng.uniform(0.1, 1, run.config.batch_size))
      yield 1


def adding(kind: str) -> Iterator[int]:
  """Agent steps that are stored, the same over and over."""
  with build('dqn', kind, {'replay_capacity': NUM_STORED, 'min_replay_size': 1}) as run:
    for step in itertools.cycle(_played(run, NUM_STORED)):
      run.replay.add(step)
      yield 1


def probe() -> Iterator[int]:
  """Probes of a network and its fresh control: one target, 20 steps, 16 inputs."""
  small = {'replay_capacity': 100, 'min_replay_size': 1, 'probe_targets': 1, 'probe_steps': 20,
           'probe_inputs': 16, 'probe_lanczos_steps': 5, 'probe_observations': 64}
  with build('dqn', 'local', small) as run:
    fill(run, 100)
    state = snapshot.start(run)
    inputs = probing.draw(run, state.learner.params, state.num_steps)
    prober = probing.make(run.config, run.model)
    while True:
      probing.measure(prober, state.learner, inputs, None)
      yield 1


def publishing() -> Iterator[int]:
  """The network's weights, from a learner through a Reverb server to an actor."""
  with contextlib.ExitStack() as stack:
    run = stack.enter_context(build('dqn', 'local', {'replay_capacity': 100, 'min_replay_size': 1}))
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    params = run.player.agent.init(parts.key(run.config, parts.INIT)).params
    template, remote = jax.eval_shape(lambda: params), factory.remote()
    settings = job.replay_settings(run.config)
    server = remote.serve(
        run.signature, settings, 'bench', 0, folder, None, 'localhost', job.SLOTS, job.QUEUES)
    stack.callback(remote.stop, server)
    client = remote.RemoteReplay(server.endpoint, run.signature, settings).client
    sender, receiver = (
        kind(client, job.WEIGHTS, epoch=1) for kind in (letters.Sender, letters.Receiver))
    while True:
      sender.send((), letters.pack(params))
      letters.unpack(template, receiver.receive().blob)
      yield 1


def checkpoint() -> Iterator[int]:
  """Checkpoints with NUM_STORED transitions of a local replay."""
  small = {'replay_capacity': NUM_STORED, 'min_replay_size': 1}
  with build('dqn', 'local', small) as run, tempfile.TemporaryDirectory() as folder:
    fill(run, NUM_STORED)
    root, state = pathlib.Path(folder), snapshot.start(run)
    inputs = probing.draw(run, state.learner.params, state.num_steps)
    for frame in itertools.count():
      snapshot.save(root, run, state, frame, {}, inputs)
      checkpoint_lib.prune(root, 1, ())
      yield 1


def gather() -> Iterator[int]:
  """The frames of batches of 32, stacked, out of as many as are drawn from: batches."""
  frames = np.ones((NUM_STORED, 84, 84), np.uint8)
  rng = np.random.default_rng(1)
  while True:
    frames.take(rng.integers(0, NUM_STORED, (2, 32, 4)), axis=0)
    yield 1


def fill(run: parts.Parts, num_steps: int) -> None:
  """Stores what a fixed cycle of actions leads to, over and over again."""
  steps = _played(run, min(num_steps, NUM_STORED))
  for step in itertools.islice(itertools.cycle(steps), num_steps + 1):
    run.replay.add(step)


def _played(run: parts.Parts, num_steps: int) -> list[replay_types.Step]:
  """So many steps of an episode, after its first."""
  timestep = run.env.reset()
  steps = list(run.accumulator.step(timestep, None))
  action_map = run.player.action_map
  for i in range(num_steps):
    choices = np.full((1, action_map.num_dims), i // 10 % action_map.num_choices, np.int32)
    timestep = run.env.step(action_map.to_environment(choices))
    steps += run.accumulator.step(timestep, choices)
  return steps
