"""The status report: what `GET /status` tells."""

from dataclasses import dataclass
from typing import Any

from server import __version__
from server.batcher import Batcher
from server.health import Health
from server.predictions import Predictions
from server.runner.runner import Runner
from server.store import Store


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Collects the figures of model, workers, queue and store."""

    health: Health
    predictions: Predictions
    batcher: Batcher[Any, Any]  # Any: only its figures are read
    runner: Runner
    store: Store

    async def collect(self) -> dict[str, object]:
        """The report, as JSON says it."""
        model = self.predictions.model
        counts = await self.store.counts()
        return {
            "status": "Alive",
            "ready": self.health.ready,
            "version": __version__,
            "uptime": round(self.health.uptime, 3),
            "model": {"name": model.name, "version": model.version} if model else None,
            "workers": {
                "total": self.runner.workers,
                "alive": self.runner.alive,
                "restarts": self.runner.restarts,
            },
            "queue": {
                "waiting": self.batcher.waiting,
                "running": self.batcher.running,
                "limit": self.batcher.limits.queue,
            },
            "results": {"total": sum(counts.values())} | {str(key): n for key, n in counts.items()},
        }
