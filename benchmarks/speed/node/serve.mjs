// What both servers do around their requests: say where they are, and end when they are told to.

const { NODE_ENV, PORT = "0" } = process.env;

export function listen(server) {
  if (NODE_ENV !== "production") console.error("NODE_ENV is not production: this will be slower");
  // A load generator that pauses finds its connections open.
  server.keepAliveTimeout = 60_000;
  server.listen(Number(PORT), "127.0.0.1", () => {
    console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}/graphql` }));
  });
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => process.exit(0));
}
