#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Client, FisoError } from "./index.js";

const USAGE = `Usage: fiso-call FUNCTION [--url URL] [--data TEXT|@FILE] [--type TYPE] [--lease] [--token TOKEN]

  One request to a function behind FISO; its answer goes to standard output, who gave it to standard error.

  fiso-call thumbnails --url "$FISO_URL" --data @photo.jpg --type image/jpeg

  --url URL     where FISO is; FISO_URL otherwise
  --lease       lease, and call the copy from here
  --token TEXT  a bearer token; FISO_TOKEN otherwise
`;

async function main(): Promise<number> {
  const text = { type: "string" } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { url: text, data: text, type: text, token: text, lease: { type: "boolean" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const [name, ...more] = positionals;
  const url = values.url ?? process.env["FISO_URL"];
  if (name === undefined || more.length) throw new TypeError("one function is called (fiso-call --help)");
  if (!url) throw new TypeError("where is FISO? say --url, or set FISO_URL");
  const token = values.token ?? process.env["FISO_TOKEN"];
  const data = values.data ?? "";
  const body = data.startsWith("@") ? new Uint8Array(readFileSync(data.slice(1))) : data;
  const client = new Client(url, token ? { headers: () => ({ authorization: `Bearer ${token}` }) } : {});
  const request = { body, contentType: values.type ?? "application/json" };
  const answer = await (values.lease ? client.call(name, request) : client.invoke(name, request));
  process.stderr.write(`${answer.status} ${answer.endpoint}\n`);
  process.stdout.write(answer.body);
  await client.close();
  return answer.isFunctionError ? 1 : 0;
}

main().then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    const isUsage = !(error instanceof FisoError);
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = isUsage ? 2 : 1;
  },
);
