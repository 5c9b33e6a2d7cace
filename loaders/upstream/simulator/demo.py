"""The upstreams of ``--demo``: the wallets of the published examples, and four richer ones made up for it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loaders.upstream import UpstreamSettings
from loaders.upstream.simulator.ondo import OndoAsset, OndoDataset, OndoSimulator
from loaders.upstream.simulator.onebalance import (
    OneBalanceAsset,
    OneBalanceDataset,
    OneBalanceEntity,
    OneBalanceSimulator,
)
from loaders.upstream.simulator.thegraph import TheGraphDataset, TheGraphSimulator

DATA = Path(__file__).with_name("demo.json")


def demo_upstreams() -> tuple[OndoSimulator, OneBalanceSimulator, TheGraphSimulator]:
    """The three upstreams, not started, with the default keys and The Graph's free plan."""
    data = json.loads(DATA.read_text(encoding="utf-8"))
    return (
        OndoSimulator(_ondo(data["ondo"])),
        OneBalanceSimulator(_onebalance(data["onebalance"])),
        TheGraphSimulator(_thegraph(data["thegraph"])),
    )


def demo_settings(
    upstreams: tuple[OndoSimulator, OneBalanceSimulator, TheGraphSimulator], settings: UpstreamSettings
) -> UpstreamSettings:
    """These settings with the started upstreams' addresses and keys in place of any others."""
    ondo, onebalance, thegraph = upstreams
    return replace(
        settings,
        ondo_base_url=ondo.url,
        ondo_api_key=ondo.key,
        onebalance_base_url=f"{onebalance.url}/api",
        onebalance_api_key=onebalance.key,
        thegraph_base_url=thegraph.url,
        thegraph_api_token=thegraph.token,
        thegraph_plan="free",
    )


def _ondo(data: dict[str, Any]) -> OndoDataset:
    dataset = OndoDataset()
    for asset in data["assets"]:
        dataset.add_asset(OndoAsset(**asset))
    for chain, accounts in data["balances"].items():
        for account, balances in accounts.items():
            for symbol, balance in balances.items():
                dataset.add_balance(chain=chain, symbol=symbol, account=account, balance=balance)
    return dataset


def _onebalance(data: dict[str, Any]) -> OneBalanceDataset:
    dataset = OneBalanceDataset(chains=data["chains"])
    for row in data["assets"]:
        entities = [_entity(row, entity) for entity in row["entities"]]
        dataset.add_asset(OneBalanceAsset(**{**row, "entities": entities}))
    for account, balances in data["balances"].items():
        for asset_type, balance, fiat_value in balances:
            dataset.add_balance(account=account, asset_type=asset_type, balance=balance, fiat_value=fiat_value)
    for accounts, aggregated_asset_id, balance, fiat_value in data["reported"]:
        dataset.report(
            accounts=accounts,
            aggregated_asset_id=aggregated_asset_id,
            balance=balance,
            fiat_value=fiat_value,
        )
    return dataset


def _entity(asset: dict[str, Any], entity: str | dict[str, Any]) -> OneBalanceEntity:
    """An entity given as an asset type alone has the decimals of its aggregate."""
    if isinstance(entity, str):
        entity = {"asset_type": entity, "decimals": asset["decimals"]}
    return OneBalanceEntity(**entity, name=asset["name"], symbol=asset["symbol"])


def _thegraph(data: dict[str, Any]) -> TheGraphDataset:
    dataset = TheGraphDataset()
    for mint in data["mints"]:
        dataset.add_mint(**mint)
    for row in data["token_accounts"]:
        dataset.add_token_account(**_at(row, "amount"))
    for row in data["older_balances"]:
        dataset.add_balance(**_at(row, "amount"))
    for row in data["native"]:
        dataset.add_native(**_at(row, "lamports"))
    latest = max(data["native"], key=lambda row: int(row["block"]))
    dataset.add_network(block=latest["block"], time=_time(latest["time"]))
    return dataset


def _at(row: dict[str, Any], amount: str) -> dict[str, Any]:
    return {**row, amount: int(row[amount]), "time": _time(row["time"])}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
