"""What a list of holdings says, by asset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Listing:
    """The holdings of a list by asset, its total, and the reports of one source."""

    def __init__(self, listed: Mapping[str, Any], source: str) -> None:
        self.nodes: dict[str, dict[str, Any]] = {node["token"]["assetId"]: node for node in listed["nodes"]}
        assert len(self.nodes) == len(listed["nodes"])
        self.count: int = listed["totalCount"]
        self.total: dict[str, Any] = listed["total"]
        self.reports = [report for report in listed["sources"] if report["source"] == source]

    def __getitem__(self, asset_id: str) -> dict[str, Any]:
        return self.nodes[asset_id]

    @property
    def amounts(self) -> dict[str, str]:
        return {asset_id: node["amount"] for asset_id, node in self.nodes.items()}

    @property
    def raw_amounts(self) -> dict[str, str]:
        return {asset_id: node["rawAmount"] for asset_id, node in self.nodes.items()}

    @property
    def report(self) -> dict[str, Any]:
        """The one report, where there is only one."""
        (report,) = self.reports
        return report  # type: ignore[no-any-return]  # JSON

    @property
    def by_chain(self) -> dict[str, dict[str, Any]]:
        """The reports by the chain that they speak of."""
        return {report["chain"]["chainId"]: report for report in self.reports}

    @property
    def statuses(self) -> dict[str, tuple[str, str | None]]:
        return {chain_id: (report["status"], report["code"]) for chain_id, report in self.by_chain.items()}

    @property
    def status(self) -> tuple[str, str | None]:
        return self.report["status"], self.report["code"]
