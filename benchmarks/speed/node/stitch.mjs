// The data layer: what the sources say of some addresses, reconciled into one list of holdings.

import DataLoader from "dataloader";

import { NATIVE_SOL, isEvm } from "./caip.mjs";
import { compare, proportion, raw, times, whole } from "./decimals.mjs";
import { ONDO_CHAINS, clean } from "./sources.mjs";

const ONDO_CHAIN_IDS = new Set(ONDO_CHAINS.values());
const NOTHING = new Map();
const SYSTEM_PROGRAM = "1".repeat(32);

/** The loaders of one operation: whatever its fields ask, each source is asked once about each address. */
export class Stitch {
  constructor(sources) {
    const batch = { maxBatchSize: sources.graphBatch };
    this.sources = sources;
    this.books = null;
    this.ondo = new DataLoader((addresses) => Promise.all(addresses.map((address) => sources.fetchOndo(address))));
    this.oneBalance = new DataLoader((addresses) => sources.fetchOneBalance(addresses));
    this.tokenAccounts = new DataLoader((owners) => sources.fetchTokenAccounts(owners), batch);
    this.lamports = new DataLoader((owners) => sources.fetchLamports(owners), batch);
  }

  /** The first of what the addresses hold, by value; the unpriced last. */
  async holdings(addresses, first) {
    this.books ??= this.readBooks();
    const [books, ...said] = await Promise.all([this.books, ...addresses.map((address) => this.ask(address))]);
    const holdings = said.flatMap((one, index) => this.reconcile(addresses[index], one, books));
    holdings.sort(byValue);
    return { nodes: holdings.slice(0, first), totalCount: holdings.length };
  }

  async readBooks() {
    const { issued, prices, listed } = this.sources;
    return new Books(...(await Promise.all([issued.get(), prices.get(), listed.get()])));
  }

  ask(address) {
    const evm = isEvm(address);
    return Promise.all([
      this.ondo.load(address),
      this.oneBalance.load(address),
      evm ? [] : this.tokenAccounts.load(address),
      evm ? null : this.lamports.load(address),
    ]);
  }

  /** The holdings of one address of more than zero, in no order. */
  reconcile(address, [ondo, oneBalance, tokenAccounts, lamports], books) {
    const { mints } = this.sources;
    const positions = new Map();
    const at = (asset) => {
      let position = positions.get(asset.id);
      if (position === undefined) positions.set(asset.id, (position = new Position(asset)));
      return position;
    };
    for (const { asset, amount, symbol } of ondo) {
      at(asset).ondo ??= new Observation("ONDO_GM", amount, null, null, null, symbol);
    }
    for (const { asset, units, value } of oneBalance.rows) {
      const decimals = books.listed.get(asset.id)?.decimals ?? null;
      at(asset).oneBalance ??= new Observation("ONEBALANCE", null, units, decimals, value, null);
    }
    for (const row of tokenAccounts) {
      const asset = mints.of(row.mint);
      if (asset !== null) at(asset).addRow(row);
    }
    for (const position of positions.values()) if (position.rows !== null) position.spl = sumOf(position.rows);
    if (lamports !== null && lamports !== "0") {
      at(mints.of(SYSTEM_PROGRAM)).spl ??= new Observation("SOLANA_SPL", null, lamports, 9, null, "SOL");
    }
    const accountIds = new Map();
    const holdings = [];
    for (const position of positions.values()) {
      const { chain } = position.asset;
      let accountId = accountIds.get(chain);
      if (accountId === undefined) accountIds.set(chain, (accountId = `${chain}:${address}`));
      const holding = holdingOf(position, accountId, books, oneBalance.complete);
      if (holding !== null) holdings.push(holding);
    }
    return holdings;
  }
}

/** What the registers know of tokens, as one operation sees them; null is a register that failed. */
class Books {
  constructor(issued, prices, listed) {
    this.issued = issued?.assets ?? NOTHING;
    this.issuedComplete = issued?.complete ?? false;
    this.prices = prices?.bySymbol ?? NOTHING;
    this.pricesComplete = prices?.complete ?? false;
    this.listed = listed?.assets ?? NOTHING;
  }

  /** Whether there may be a price that could not be read. */
  priceFailed(asset) {
    if (this.issued.has(asset.id)) return !this.pricesComplete;
    return !this.issuedComplete && ONDO_CHAIN_IDS.has(asset.chain) && !asset.local.startsWith("slip44:");
  }
}

/** One source's word: `amount` in whole tokens or `units` in smallest ones, the other filled in; a value if given. */
class Observation {
  constructor(source, amount, units, decimals, value, symbol) {
    this.source = source;
    this.amount = amount;
    this.units = units;
    this.decimals = decimals;
    this.value = value;
    this.symbol = symbol;
  }

  /** Completes it by the decimals that its source, another one or a register knows. */
  fill(known, asset) {
    const decimals = known ?? asset.coin?.decimals;
    if (decimals === undefined) return;
    if (this.amount === null) this.amount = whole(this.units, decimals);
    else this.units = raw(this.amount, decimals);
  }

  get isZero() {
    return this.amount === "0" || this.units === "0";
  }

  equals(other) {
    if (this.amount !== null && other.amount !== null) return this.amount === other.amount;
    return this.units !== null && this.units === other.units;
  }
}

/** What the sources say of one asset of an account, each of them once; `rows` are its token accounts. */
class Position {
  constructor(asset) {
    this.asset = asset;
    this.rows = null;
    this.spl = null;
    this.ondo = null;
    this.oneBalance = null;
  }

  /** Keeps a row unless a newer one of the same token account and program is there. */
  addRow(row) {
    if (this.rows === null) {
      this.rows = [row];
      return;
    }
    const index = this.rows.findIndex((seen) => seen.account === row.account && seen.program_id === row.program_id);
    if (index < 0) this.rows.push(row);
    else if (row.last_update_block_num > this.rows[index].last_update_block_num) this.rows[index] = row;
  }
}

/** What the token accounts of one mint hold together; null when that is nothing. */
function sumOf(rows) {
  let newest = null;
  let units = null;
  for (const row of rows) {
    if (row.amount === "0") continue;
    units = units === null ? row.amount : String(BigInt(units) + BigInt(row.amount));
    if (newest === null || row.last_update_block_num > newest.last_update_block_num) newest = row;
  }
  if (newest === null) return null;
  // An unknown mint comes with 0 decimals, as a token without fractions does; only its text tells them apart.
  const known = newest.decimals || newest.symbol || newest.name;
  return new Observation("SOLANA_SPL", null, units, known ? newest.decimals : null, null, newest.symbol);
}

/** One holding, its amount from the source that reads the chain itself if there is one; null when it is zero. */
function holdingOf(position, accountId, books, valuesComplete) {
  const { asset, spl, ondo, oneBalance } = position;
  const issued = books.issued.get(asset.id);
  const listed = books.listed.get(asset.id);
  spl?.fill(spl.decimals ?? oneBalance?.decimals ?? issued?.decimals ?? listed?.decimals, asset);
  ondo?.fill(issued?.decimals ?? spl?.decimals ?? listed?.decimals, asset);
  oneBalance?.fill(oneBalance.decimals ?? spl?.decimals ?? issued?.decimals, asset);
  const chosen = spl ?? ondo ?? oneBalance;
  if (chosen === null || chosen.isZero) return null;

  let value = null;
  let status = "UNPRICED";
  const price = issued && books.prices.get(issued.priced);
  if (price && chosen.amount !== null) {
    value = times(chosen.amount, price);
    status = "DERIVED";
  } else if (oneBalance !== null && oneBalance.value !== "0" && !oneBalance.value.startsWith("-")) {
    if (oneBalance.equals(chosen)) {
      value = oneBalance.value;
      status = "REPORTED";
    } else if (oneBalance.amount !== null && oneBalance.amount !== "0" && chosen.amount !== null) {
      value = proportion(oneBalance.value, chosen.amount, oneBalance.amount);
      status = "DERIVED";
    }
  }
  const unavailable = value === null && (books.priceFailed(asset) || (oneBalance === null && !valuesComplete));
  return {
    accountId,
    token: tokenOf(position, issued, listed),
    amount: chosen.amount,
    rawAmount: chosen.units,
    valueUsd: value,
    valueStatus: unavailable ? "UNAVAILABLE" : status,
    amountSource: chosen.source,
    place: value === null ? -1 : Number(value),
  };
}

/** What is known of a token: by the issuer's register first, by its own word last. */
function tokenOf({ asset, ondo, spl }, issued, listed) {
  const own = asset.id === NATIVE_SOL ? asset.coin : spl;
  let symbol = issued?.symbol ?? clean(ondo?.symbol) ?? listed?.symbol ?? clean(own?.symbol);
  let decimals = issued?.decimals ?? listed?.decimals ?? own?.decimals ?? null;
  if (symbol === null && decimals === null && asset.coin !== null) ({ symbol, decimals } = asset.coin);
  return { assetId: asset.id, local: asset.local, symbol, decimals };
}

/** The highest value first, unknown ones last; equal ones by account and asset. */
function byValue(one, other) {
  if (one.place !== other.place) return other.place - one.place;
  if (one.valueUsd !== other.valueUsd) return compare(other.valueUsd, one.valueUsd);
  if (one.accountId !== other.accountId) return one.accountId < other.accountId ? -1 : 1;
  return one.token.local < other.token.local ? -1 : 1;
}
