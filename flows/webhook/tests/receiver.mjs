// A receiver that is not ours: npm's `standardwebhooks` verifies every webhook. It prints its port, then one line a webhook.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [, , modules, secret] = process.argv;
const { Webhook } = createRequire(`${modules}/`)("standardwebhooks");
const webhook = new Webhook(secret);

const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    try {
      const said = webhook.verify(Buffer.concat(chunks), request.headers);
      console.log(JSON.stringify({ id: request.headers["webhook-id"], type: said.type }));
      response.writeHead(204).end();
    } catch (error) {
      console.log(JSON.stringify({ fault: error.message }));
      response.writeHead(401).end();
    }
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
