"""What the worker does and when: withdrawals at once, nightly jobs once a night on one of many nodes.

Knows no job by itself: it is handed callables. `worker` is the loop, `turns` who may run a job tonight.
"""

from service.jobs.worker import Nightly, Worker, node

__all__ = ["Nightly", "Worker", "node"]
