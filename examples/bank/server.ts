/**
 * The sample origin: a bank behind the gateway, to try things out on and to test against. This file is the HTTP shell: it
 * finds the resource, insists on a client, and turns every unforeseen failure into a problem. Told how to verify the
 * gateway's assertions (`assertion.ts`), it believes nothing else. Without that it trusts `X-Client-Id` blindly, which is
 * right only where nobody but the gateway can reach it; so it listens on the loopback interface.
 *
 *   node examples/bank/server.ts --port 9000
 *   node examples/bank/server.ts --jwks https://localhost:8443/.well-known/jwks.json --ca .sekisho/pki/ca.pem
 */
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import { parseArgs } from "node:util"
import { createGatewayKeys, createProver, type Proof } from "./assertion.ts"
import { openFeed } from "./feed.ts"
import type { LedgerStore } from "./ledger.ts"
import { createSampleStore } from "./memory-store.ts"
import { listen, type Listening } from "../listen.ts"
import { sendProblem } from "./problem.ts"
import { ROUTES } from "./routes.ts"

/** Where to listen (port 0 takes any free one), what to keep accounts in, and the clock in epoch ms. */
export interface BankOptions {
  readonly host: string
  readonly port: number
  /** Default: the sample accounts of the clients acme and globex. */
  readonly store?: LedgerStore
  /** Default: the system clock. */
  readonly now?: () => number
  /** Who asks, proven by the gateway; undefined where no proof is asked for. Default: none is asked for. */
  readonly prove?: ((request: IncomingMessage) => Promise<Proof | undefined>) | undefined
  /** Told why a request was refused for want of proof. Default: nobody is. */
  readonly onUnproven?: ((request: IncomingMessage, reason: string) => void) | undefined
  /** Told about failures that nobody foresaw. Default: `console.error`. */
  readonly onError?: (error: unknown) => void
}

/** A bank that is open. */
export interface Bank extends Listening {
  /** The server itself, for those who want to watch it. */
  readonly server: Server
}

/** Longer than any gateway keeps an idle connection, so that the gateway closes it and never meets a closed one. */
const KEEP_ALIVE_MS = 120_000
const CLIENT_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** Opens the bank; settles once it accepts connections, fails when the port is taken. */
export async function startBank({
  host,
  port,
  store = createSampleStore(),
  now = Date.now,
  prove,
  onUnproven,
  onError = console.error,
}: BankOptions): Promise<Bank> {
  const server = createServer((request, response) => {
    answer(request, response, { store, now, prove, onUnproven }).catch((error: unknown) => {
      // The caller left in the middle of a stream; there is nobody to tell.
      if (response.destroyed) return
      onError(error)
      if (response.headersSent) response.destroy()
      else sendProblem(response, "internal-error")
    })
  })
  server.keepAliveTimeout = KEEP_ALIVE_MS
  server.on("upgrade", (request, socket, head) => {
    socket.on("error", () => {})
    upgrade(request, socket, head, { now, prove, onUnproven }).catch((error: unknown) => {
      onError(error)
      socket.destroy()
    })
  })
  return { ...(await listen(server, host, port)), server }
}

/** Opens the feed, or declines with a plain answer: whoever asks has to be known here, too. */
async function upgrade(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  { now, prove, onUnproven }: Pick<BankOptions, "prove" | "onUnproven"> & Pick<Business, "now">,
): Promise<void> {
  const proof = await prove?.(request)
  if (proof?.ok === false) onUnproven?.(request, proof.reason)
  const client = proof === undefined ? request.headers["x-client-id"] : proof.ok ? proof.client : undefined
  const [path] = splitOnce(request.url ?? "", "?")
  if (path !== "/ws") return decline(socket, "404 Not Found")
  if (typeof client !== "string" || !CLIENT_ID.test(client)) return decline(socket, "401 Unauthorized")
  openFeed(request, socket, head, { client, now })
}

function decline(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

type Business = Required<Pick<BankOptions, "store" | "now">>

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { store, now, prove, onUnproven }: Pick<BankOptions, "prove" | "onUnproven"> & Business,
): Promise<void> {
  const proof = await prove?.(request)
  if (proof?.ok === false) {
    onUnproven?.(request, proof.reason)
    // A guard of the gateway must not take what is wrong between the two of them for a client's failure.
    return sendProblem(response, proof.problem, {}, { "Guard-Outcome": "neutral" })
  }
  const client = proof?.client ?? request.headers["x-client-id"]
  // Two such fields arrive joined by a comma, which is no client either.
  if (typeof client !== "string" || !CLIENT_ID.test(client)) return sendProblem(response, "client-missing")
  const [path, query] = splitOnce(request.url ?? "", "?")
  const candidates = ROUTES.filter((route) => route.path.test(path))
  const method = request.method === "HEAD" ? "GET" : request.method
  const route = candidates.find((candidate) => candidate.method === "*" || candidate.method === method)
  if (route !== undefined) {
    const id = route.path.exec(path)?.groups?.["id"] ?? ""
    return await route.handle({ request, response, client, id, query: new URLSearchParams(query), store, now })
  }
  const allow = candidates.map((candidate) => (candidate.method === "GET" ? "GET, HEAD" : candidate.method)).join(", ")
  if (allow === "") sendProblem(response, "not-found")
  else sendProblem(response, "method-not-allowed", {}, { Allow: allow })
}

function splitOnce(text: string, separator: string): [before: string, after: string] {
  const index = text.indexOf(separator)
  return index === -1 ? [text, ""] : [text.slice(0, index), text.slice(index + separator.length)]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      host: { type: "string", default: "127.0.0.1" },
      port: { type: "string", default: "9000" },
      // With --jwks it wants proof: whose, for whom, and the CA of the gateway's certificate.
      jwks: { type: "string" },
      ca: { type: "string" },
      issuer: { type: "string", default: "https://localhost" },
      audience: { type: "string", default: "bank" },
    },
  })
  const { audience, issuer, jwks } = values
  const ca = values.ca === undefined ? undefined : await readFile(values.ca, "utf8")
  const bank = await startBank({
    host: values.host,
    port: Number(values.port),
    ...(jwks === undefined
      ? {}
      : { prove: createProver({ issuer, audience, keys: createGatewayKeys(new URL(jwks), { ca }) }) }),
  })
  console.log(`The sample bank is open at http://${values.host}:${bank.port}`)
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void bank.close())
}
