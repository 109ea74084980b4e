"""When something that is done now and then is due."""


def is_due(period: int, last: int, now: int, end: int) -> bool:
  """Whether to do now what has this period and was last done at `last`; at the end, always.

  A period of 0 is never; `last` is -1 where it was never done.
  """
  if not period or now <= last:
    return False
  return now // period > last // period or now >= end
