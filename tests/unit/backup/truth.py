"""The truth about some servers: what they recorded and deleted, and what a backup holds."""

from server.prediction import Prediction


class Truth:
    """What the servers did, and what the backup must therefore hold."""

    def __init__(self, servers: int) -> None:
        self.results: dict[str, Prediction] = {}
        self.deleted: list[set[str]] = [set() for _ in range(servers)]
        self.cleared = [0] * servers
        self.confirmed_results: set[str] = set()
        self.confirmed_deleted: set[str] = set()
        self.confirmed_cleared = 0

    def alive(self) -> dict[str, Prediction]:
        deleted, cleared = set().union(*self.deleted), max(self.cleared)
        return {
            key: each
            for key, each in self.results.items()
            if key not in deleted and (each.completed_at or 0) > cleared
        }

    def dead_for(self, server: int) -> set[str]:
        """Those that may not be on that server after an import."""
        deleted = self.deleted[server] | self.confirmed_deleted
        cleared = max(self.cleared[server], self.confirmed_cleared)
        return {
            key
            for key, each in self.results.items()
            if key in deleted or (each.completed_at or 0) <= cleared
        }

    def confirm(self, results: set[str], deleted: set[str], cleared: int) -> None:
        self.confirmed_results |= results
        self.confirmed_deleted |= deleted
        self.confirmed_cleared = max(self.confirmed_cleared, cleared)
