// What is asked of Ondo GM, OneBalance and The Graph Token API, and how their answers are read.

import { Assets, SOLANA, isEvm } from "./caip.mjs";
import { digits, plain, unscaled } from "./decimals.mjs";
import { Kept, Upstream } from "./upstream.mjs";

export const ONDO_CHAINS = new Map([
  ["ethereum-1", "eip155:1"],
  ["bsc-56", "eip155:56"],
  ["solana-900", SOLANA],
]);
const ONDO_ON_EVM = ["ethereum-1", "bsc-56"];
const ONDO_ON_SOLANA = ["solana-900"];

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const MAX_PAGES = 100;
const MAX_SYMBOL = 64;
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]/gu;
const FIAT_VALUE = /"fiatValue"\s*:\s*(-?[\d.]+(?:[eE][-+]?\d+)?)/g;

/** The upstreams, and what is kept of them for as long as the process lives: registers, never balances. */
export class Sources {
  constructor(environment) {
    const { ONDO_API_KEY = "key", ONEBALANCE_API_KEY = "key", THEGRAPH_API_TOKEN = "token" } = environment;
    this.ondo = new Upstream(environment.ONDO_BASE_URL, { "x-api-key": ONDO_API_KEY });
    this.oneBalance = new Upstream(environment.ONEBALANCE_BASE_URL, { "x-api-key": ONEBALANCE_API_KEY });
    this.theGraph = new Upstream(environment.THEGRAPH_BASE_URL, { authorization: `Bearer ${THEGRAPH_API_TOKEN}` });
    const [page, batch] = (environment.THEGRAPH_PLAN ?? "500/50").split("/").map(Number);
    this.graphPage = page;
    this.graphBatch = Math.min(page, batch);

    this.assetTypes = new Assets();
    this.mints = new Assets(`${SOLANA}/token:`);
    this.ondoTokens = new Map(
      [...ONDO_CHAINS].map(([name, chain]) => [name, chain === SOLANA ? this.mints : new Assets(`${chain}/erc20:`)]),
    );
    this.issued = new Kept(() => this.fetchIssued(), 5 * MINUTE, DAY);
    this.prices = new Kept(() => this.fetchPrices(), 1_000, 14_000);
    this.listed = new Kept(() => this.fetchListed(), 10 * MINUTE, DAY);
  }

  // Ondo GM

  /** Its register: symbol and decimals by asset id. */
  async fetchIssued() {
    const assets = new Map();
    let complete = true;
    for (const { symbol, addresses } of JSON.parse(await this.ondo.get("/v1/assets/all/metadata"))) {
      for (const { networkChainId, address, decimals } of addresses) {
        const asset = this.ondoTokens.get(networkChainId)?.of(address);
        if (asset) assets.set(asset.id, { symbol: clean(symbol), decimals, priced: symbol });
        complete &&= asset !== null;
      }
    }
    return { assets, complete };
  }

  /** Its prices by symbol, ready to be multiplied. */
  async fetchPrices() {
    const bySymbol = new Map();
    let complete = true;
    for (const { primaryMarket } of JSON.parse(await this.ondo.get("/v1/assets/all/prices/latest"))) {
      const price = plain(primaryMarket.price);
      if (price === null) complete = false;
      else if (price !== "0") bySymbol.set(primaryMarket.symbol, unscaled(price));
    }
    return { bySymbol, complete };
  }

  /** What an address holds on all chains: whole tokens. */
  async fetchOndo(address) {
    const chains = isEvm(address) ? ONDO_ON_EVM : ONDO_ON_SOLANA;
    const answers = await Promise.all(chains.map((chain) => this.fetchOndoOn(chain, address).catch(() => [])));
    return answers.flat();
  }

  async fetchOndoOn(chain, address) {
    const { tokens } = JSON.parse(await this.ondo.get(`/v1/chains/${chain}/balances?userAddress=${address}`));
    const assets = this.ondoTokens.get(chain);
    const evm = isEvm(address);
    const rows = [];
    for (const { tokenAddress, tokenSymbol, balances } of tokens) {
      const asset = assets.of(tokenAddress);
      for (const { holderAddress, balance } of balances) {
        const holder = evm ? holderAddress.account.toLowerCase() : holderAddress.account;
        const amount = plain(balance);
        if (holder === address && asset !== null && amount !== null) rows.push({ asset, amount, symbol: tokenSymbol });
      }
    }
    return rows;
  }

  // OneBalance

  /** Its register: symbol and decimals by asset id, and the aggregates to ask for. */
  async fetchListed() {
    const assets = new Map();
    const ids = { eip155: new Set(), solana: new Set() };
    for (const aggregate of JSON.parse(await this.oneBalance.get("/assets/list"))) {
      for (const { assetType, symbol, decimals } of aggregate.aggregatedEntities) {
        const asset = this.assetTypes.of(assetType);
        if (asset === null) continue;
        if (!assets.has(asset.id)) assets.set(asset.id, { symbol: clean(symbol || aggregate.symbol), decimals });
        ids[asset.namespace]?.add(aggregate.aggregatedAssetId);
      }
    }
    const list = (names) => [...names].sort().map(encodeURIComponent).join(",").replaceAll("%3A", ":");
    const both = new Set([...ids.eip155, ...ids.solana]);
    return { assets, eip155: list(ids.eip155), solana: list(ids.solana), both: list(both) };
  }

  /** What addresses hold, smallest units with values. One EVM and one Solana address share a request. */
  async fetchOneBalance(addresses) {
    const evm = addresses.filter((address) => isEvm(address));
    const solana = addresses.filter((address) => !isEvm(address));
    const answers = new Map();
    const ask = async (eip155, solana) => {
      const answer = await this.fetchPair(eip155, solana).catch(() => ({ eip155: [], solana: [], complete: false }));
      answers.set(eip155, { rows: answer.eip155, complete: answer.complete });
      answers.set(solana, { rows: answer.solana, complete: answer.complete });
    };
    const count = Math.max(evm.length, solana.length);
    await Promise.all(Array.from({ length: count }, (_, index) => ask(evm[index], solana[index])));
    return addresses.map((address) => answers.get(address));
  }

  async fetchPair(eip155, solana) {
    const listed = await this.listed.get();
    const ids = eip155 && solana ? listed.both : eip155 ? listed.eip155 : listed.solana;
    const answer = { eip155: [], solana: [], complete: true };
    if (ids === "") return answer;
    const account = [eip155 && `eip155:1:${eip155}`, solana && `solana:${solana}`].filter(Boolean).join(",");
    const query = `account=${account}&aggregatedAssetId=${ids}`;
    const body = await this.oneBalance.get(`/v3/balances/aggregated-balance?${query}`);
    // A value is a JSON number, of which a double may not hold every digit.
    const { accounts, balanceByAggregatedAsset, balanceBySpecificAsset } = JSON.parse(
      body.replace(FIAT_VALUE, '"fiatValue":"$1"'),
    );
    const said = { evm: accounts?.evm?.toLowerCase() ?? eip155, solana: accounts?.solana ?? solana };
    const others = (eip155 && said.evm !== eip155) || (solana && said.solana !== solana);
    if (others) throw new Error("the answer is about other accounts");
    for (const { individualAssetBalances } of balanceByAggregatedAsset) this.addRows(answer, individualAssetBalances);
    this.addRows(answer, balanceBySpecificAsset);
    return answer;
  }

  addRows(answer, balances) {
    for (const { assetType, balance, fiatValue } of balances) {
      const asset = this.assetTypes.of(assetType);
      const [units, value] = [digits(balance), plain(fiatValue)];
      if (asset === null || units === null || value === null) answer.complete = false;
      else answer[asset.namespace]?.push({ asset, units, value });
    }
  }

  // The Graph

  /** Token accounts by owner, read page by page. */
  async fetchTokenAccounts(owners) {
    const byOwner = new Map(owners.map((owner) => [owner, []]));
    const query = `network=solana&owner=${owners.join(",")}&limit=${this.graphPage}`;
    for (let page = 1; page <= MAX_PAGES; page += 1) {
      const rows = await this.fetchRows(`/v1/svm/balances?${query}&page=${page}`);
      for (const row of rows) {
        row.amount = digits(row.amount);
        if (row.amount !== null) byOwner.get(row.owner)?.push(row);
      }
      if (rows.length < this.graphPage) break;
    }
    return owners.map((owner) => byOwner.get(owner));
  }

  /** Lamports by owner; null where there are none. */
  async fetchLamports(owners) {
    const query = `network=solana&address=${owners.join(",")}&limit=${this.graphPage}&page=1`;
    const byOwner = new Map();
    for (const row of await this.fetchRows(`/v1/svm/balances/native?${query}`)) {
      const seen = byOwner.get(row.address);
      if (!seen || row.last_update_block_num > seen.last_update_block_num) byOwner.set(row.address, row);
    }
    return owners.map((owner) => digits(byOwner.get(owner)?.amount));
  }

  async fetchRows(path) {
    try {
      return JSON.parse(await this.theGraph.get(path)).data;
    } catch {
      return [];
    }
  }
}

/** A stranger's text without control and bidirectional characters, and not too long; null when nothing is left. */
export function clean(text) {
  if (typeof text !== "string") return null;
  const cleaned = text.replace(UNSAFE, "").trim();
  return (cleaned.length > MAX_SYMBOL ? [...cleaned].slice(0, MAX_SYMBOL).join("") : cleaned) || null;
}
