// What the scripts of this folder have in common: where the server is, and how they report.
import assert from "node:assert/strict";

export const url = process.argv[2];
export const EVM = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b";
export const SOLANA = "6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy";

const SECONDS = 12;

/** Makes a check, and says in one line whether it holds. */
export async function check(name, run) {
  let wrong = null;
  try {
    await within(SECONDS, run());
  } catch (error) {
    wrong = error?.stack ?? JSON.stringify(error);
  }
  console.log(JSON.stringify({ check: name, wrong }));
}

/** What a promise gives, if it does so in time. */
export async function within(seconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came within ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until something holds. */
export async function until(holds, seconds = 6) {
  const end = Date.now() + seconds * 1000;
  while (!(await holds())) {
    assert(Date.now() < end, "it did not come to hold");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** A fetch that keeps what it was asked, and what came back. */
export function recorder() {
  const sent = [];
  const fetch = async (address, options = {}) => {
    const exchange = {
      method: options.method ?? "GET",
      url: new URL(address),
      headers: new Headers(options.headers),
      body: options.body ? JSON.parse(options.body) : undefined,
    };
    sent.push(exchange);
    exchange.response = await globalThis.fetch(address, options);
    return exchange.response;
  };
  return { sent, fetch };
}

const upstreams = new URL("/upstreams/", url);

/** How often Ondo GM was asked for balances on Ethereum. */
export const asked = async () => (await fetch(new URL("asked", upstreams))).json();

/** Lets OneBalance take a while with its next balances. */
export const slow = () => fetch(new URL("slow", upstreams), { method: "POST" });

/** Changes what the wallet holds of SPYon on Ethereum. */
export const moved = (balance) => fetch(new URL(`moved?balance=${balance}`, upstreams), { method: "POST" });

/** Whoever asks every second does so no more. */
export async function noneAsk() {
  await sleep(0.2);
  const before = await asked();
  await sleep(1.2);
  assert.equal(await asked(), before);
}
