// The part of the graph that the compared operations ask for, as the contract has it.

import { GraphQLError, GraphQLScalarType } from "graphql";

import { parseAddress } from "./caip.mjs";
import { Sources } from "./sources.mjs";
import { Stitch } from "./stitch.mjs";

const DEFAULT_PAGE = 50;
const MAX_PAGE = 200;
const MAX_ADDRESSES = 25;

export const typeDefs = /* GraphQL */ `
  scalar Decimal
  scalar BigInt
  scalar AccountAddress
  scalar AccountId
  scalar AssetId

  enum HoldingSource {
    ONDO_GM
    ONEBALANCE
    SOLANA_SPL
  }
  enum ValueStatus {
    REPORTED
    DERIVED
    UNPRICED
    UNAVAILABLE
  }

  type Query {
    wallets(addresses: [AccountAddress!]!): [Wallet]!
    portfolio(addresses: [AccountAddress!]!): Portfolio
  }
  type Wallet {
    address: AccountAddress!
    holdings(first: Int): HoldingConnection!
  }
  type Portfolio {
    wallets: [Wallet!]!
    holdings(first: Int): HoldingConnection!
  }
  type HoldingConnection {
    nodes: [Holding!]!
    totalCount: Int!
  }
  type Holding {
    accountId: AccountId!
    token: Token!
    amount: Decimal
    rawAmount: BigInt
    valueUsd: Decimal
    valueStatus: ValueStatus!
    amountSource: HoldingSource!
  }
  type Token {
    assetId: AssetId!
    symbol: String
    decimals: Int
  }
`;

// Exact numbers and identifiers are strings from the upstream to the answer.
const text = (name) => new GraphQLScalarType({ name, serialize: (value) => value });

const AccountAddress = new GraphQLScalarType({
  name: "AccountAddress",
  serialize: (value) => value,
  parseValue(value) {
    const address = parseAddress(value);
    if (address === null) throw badInput(`"${value}" is not an address`);
    return address;
  },
});

const walletOf = (address) => ({ address });

export const resolvers = {
  Decimal: text("Decimal"),
  BigInt: text("BigInt"),
  AccountId: text("AccountId"),
  AssetId: text("AssetId"),
  AccountAddress,
  Query: {
    wallets: (_, { addresses }) => checked(addresses).map(walletOf),
    portfolio: (_, { addresses }) => ({ wallets: [...new Set(checked(addresses))].map(walletOf) }),
  },
  Wallet: {
    holdings: ({ address }, { first }, { stitch }) => stitch.holdings([address], pageOf(first)),
  },
  Portfolio: {
    holdings: ({ wallets }, { first }, { stitch }) =>
      stitch.holdings(
        wallets.map(({ address }) => address),
        pageOf(first),
      ),
  },
};

const sources = new Sources(process.env);

export const createContext = () => ({ stitch: new Stitch(sources) });

const badInput = (message) => new GraphQLError(message, { extensions: { code: "BAD_USER_INPUT" } });

function checked(addresses) {
  if (addresses.length > MAX_ADDRESSES) throw badInput(`addresses are too many: at most ${MAX_ADDRESSES}`);
  return addresses;
}

function pageOf(first) {
  const count = first ?? DEFAULT_PAGE;
  if (count < 0 || count > MAX_PAGE) throw badInput(`first is out of range: a page has 0 to ${MAX_PAGE} holdings`);
  return count;
}
