// The audits of graphql-http: does a server do as GraphQL over HTTP says?
import { serverAudits } from "graphql-http";

for (const audit of serverAudits({ url: process.argv[2] })) {
  const result = await audit.fn();
  const wrong = result.status === "ok" ? null : `${result.status}: ${result.reason}`;
  console.log(JSON.stringify({ check: `${audit.id} ${audit.name}`, wrong }));
}
