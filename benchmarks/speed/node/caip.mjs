// Chain-agnostic identifiers in one canonical form.

import { keccak_256 } from "@noble/hashes/sha3.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import bs58 from "bs58";

export const SOLANA = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
export const NATIVE_SOL = `${SOLANA}/slip44:501`;

const MAX_KEPT = 65_536;
const ASSET = /^([-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32})\/([-a-z0-9]{3,8}):([-.%a-zA-Z0-9]{1,128})$/;
const EVM_CHAIN = /^eip155:(?:0|[1-9]\d{0,31})$/;
const EVM_ADDRESS = /^0x[0-9a-f]{40}$/;
const COIN_TYPE = /^(?:0|[1-9]\d{0,31})$/;

// Contracts that are the chain's native coin under another name.
const NATIVE_ALIASES = new Map([
  ["eip155:137/erc20:0x0000000000000000000000000000000000001010", "eip155:137/slip44:966"],
  ["eip155:42220/erc20:0x471ece3750da237f93b8e339c536989b8978a438", "eip155:42220/slip44:52752"],
  [`${SOLANA}/token:${"1".repeat(32)}`, NATIVE_SOL],
  [`${SOLANA}/token:So${"1".repeat(41)}`, NATIVE_SOL],
]);

const ETHER = { symbol: "ETH", decimals: 18 };
const COINS = new Map([
  ["eip155:1/slip44:60", ETHER],
  ["eip155:10/slip44:60", ETHER],
  ["eip155:56/slip44:714", { symbol: "BNB", decimals: 18 }],
  ["eip155:130/slip44:60", ETHER],
  ["eip155:137/slip44:966", { symbol: "POL", decimals: 18 }],
  ["eip155:999/slip44:2457", { symbol: "HYPE", decimals: 18 }],
  ["eip155:1329/slip44:19000118", { symbol: "SEI", decimals: 18 }],
  ["eip155:8453/slip44:60", ETHER],
  ["eip155:42161/slip44:60", ETHER],
  ["eip155:42220/slip44:52752", { symbol: "CELO", decimals: 18 }],
  ["eip155:43114/slip44:9005", { symbol: "AVAX", decimals: 18 }],
  ["eip155:59144/slip44:60", ETHER],
  ["eip155:80094/slip44:8008", { symbol: "BERA", decimals: 18 }],
  ["eip155:81457/slip44:60", ETHER],
  [NATIVE_SOL, { symbol: "SOL", decimals: 9 }],
]);

export const isEvm = (address) => address.startsWith("0x");

export const isSolanaAddress = (text) => text.length <= 44 && bs58.decodeUnsafe(text)?.length === 32;

/** A wallet address in canonical form; null when it is none. */
export function parseAddress(text) {
  if (typeof text !== "string") return null;
  if (!/^0x/i.test(text)) return isSolanaAddress(text) ? text : null;
  const digits = text.slice(2);
  const lower = `0x${digits.toLowerCase()}`;
  if (!EVM_ADDRESS.test(lower)) return null;
  const oneCase = digits === lower.slice(2) || digits === digits.toUpperCase();
  return oneCase || digits === checksummed(lower.slice(2)) ? lower : null;
}

/** The digits of an EVM address in the case that EIP-55 gives them. */
function checksummed(digits) {
  const hash = bytesToHex(keccak_256(utf8ToBytes(digits)));
  return [...digits].map((digit, index) => (hash[index] > "7" ? digit.toUpperCase() : digit)).join("");
}

/** Assets by what an upstream calls them; `prefix` is what their CAIP-19 form begins with. Parsed once each. */
export class Assets {
  constructor(prefix = "") {
    this.prefix = prefix;
    this.byText = new Map();
  }

  /** The asset; null for what is none. */
  of(text) {
    let asset = this.byText.get(text);
    if (asset === undefined) {
      if (this.byText.size >= MAX_KEPT) this.byText.clear();
      asset = parseAsset(this.prefix + text);
      this.byText.set(text, asset);
    }
    return asset;
  }
}

function parseAsset(text) {
  const parts = ASSET.exec(text);
  if (parts === null) return null;
  const [, chain, kind, spelled] = parts;
  const evm = chain.startsWith("eip155:");
  const reference = evm && kind === "erc20" ? spelled.toLowerCase() : spelled;
  if (evm && !EVM_CHAIN.test(chain)) return null;
  if (evm && kind === "erc20" && !EVM_ADDRESS.test(reference)) return null;
  if (kind === "slip44" && !COIN_TYPE.test(reference)) return null;
  if (chain === SOLANA && kind === "token" && !isSolanaAddress(reference)) return null;
  const canonical = `${chain}/${kind}:${reference}`;
  const id = NATIVE_ALIASES.get(canonical) ?? canonical;
  const namespace = chain.slice(0, chain.indexOf(":"));
  return { id, chain, namespace, local: id.slice(chain.length + 1), coin: COINS.get(id) ?? null };
}
