"""The status report: what `GET /status` tells."""

from dataclasses import dataclass

from server import __version__
from server.backup.backups import Backups
from server.health import Health
from server.inference import Inference
from server.prediction import Status, now
from server.predictions import Predictions
from server.runner.runner import Runner
from server.store import Store
from server.web.contract.bodies import Report


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Collects the figures of model, workers, queue and store."""

    health: Health
    predictions: Predictions
    inference: Inference
    runner: Runner
    store: Store
    backups: Backups

    async def collect(self) -> Report:
        """The report, as JSON says it."""
        model = self.inference.model
        counts = await self.store.counts()
        oldest = await self.store.oldest_pending()
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
            "rate": round(self.predictions.rate.per_second(), 3),
            "pending": {
                "count": self.predictions.pending,
                "limit": self.predictions.max_pending,
                "oldest_age": None if oldest is None else max(0, now() - oldest) / 1000,
            },
            "queue": {
                "waiting": self.inference.batcher.waiting,
                "running": self.inference.batcher.running,
                "limit": self.inference.batcher.limits.queue,
            },
            "backup": await self.backups.status(),
            "results": {
                "total": sum(counts.values()),
                "Pending": counts[Status.PENDING],
                "Success": counts[Status.SUCCESS],
                "Fail": counts[Status.FAIL],
            },
        }
