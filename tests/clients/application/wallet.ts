// An application's code: tsc checks what it reads against what the graph gives.
import type { ResultOf, VariablesOf } from "@graphql-typed-document-node/core";
import { graphql } from "./generated/index.js";

export const PORTFOLIO = graphql(`
  query Portfolio($addresses: [AccountAddress!]!, $first: Int!) {
    portfolio(addresses: $addresses) {
      total { valueUsd complete missingSources }
      holdings(first: $first) {
        nodes { id ...Balance token { symbol decimals } }
        pageInfo { hasNextPage endCursor }
      }
      sources { source status retryAfterSeconds }
    }
  }
`);

export const BALANCE = graphql(`
  fragment Balance on Holding { amount rawAmount valueUsd valueStatus }
`);

export const CHANGES = graphql(`
  subscription Changes($address: AccountAddress!) {
    walletChanged(address: $address) { changed { id ...Balance } removedIds at }
  }
`);

export const variables: VariablesOf<typeof PORTFOLIO> = {
  addresses: ["0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"],
  first: 10,
};

export function read({ portfolio }: ResultOf<typeof PORTFOLIO>): string[] {
  if (!portfolio) return [];
  const decimals: (number | null)[] = portfolio.holdings.nodes.map(({ token }) => token.decimals ?? null);
  const statuses: ("OK" | "STALE" | "FAILED" | string)[] = portfolio.sources.map(({ status }) => status);
  // @ts-expect-error An amount may be unknown.
  const known: string[] = portfolio.holdings.nodes.map(({ amount }) => amount);
  // @ts-expect-error An exact number is a string, which nobody adds up by accident.
  const total: number | null | undefined = portfolio.total.valueUsd;
  return [...statuses, ...known, String(total), String(decimals)];
}

export function amounts({ walletChanged }: ResultOf<typeof CHANGES>): (string | null | undefined)[] {
  return walletChanged.changed.map(({ amount }) => amount);
}

// @ts-expect-error Addresses are needed.
export const incomplete: VariablesOf<typeof PORTFOLIO> = { first: 10 };
