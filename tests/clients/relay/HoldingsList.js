// What relay-compiler reads: a screen with a wallet's holdings, page by page. `list.mjs` runs what it makes of this.
import { graphql } from "relay-runtime";

export const query = graphql`
  query HoldingsListQuery($address: AccountAddress!) {
    wallet(address: $address) {
      ...HoldingsList_wallet
    }
  }
`;

export const fragment = graphql`
  fragment HoldingsList_wallet on Wallet
  @argumentDefinitions(first: { type: "Int", defaultValue: 4 }, after: { type: "String" })
  @refetchable(queryName: "HoldingsListPageQuery") {
    address
    holdings(first: $first, after: $after) @connection(key: "HoldingsList_holdings") {
      edges {
        node {
          id
          amount
          token {
            symbol
          }
        }
      }
    }
  }
`;
