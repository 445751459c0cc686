/**
 * The whole road for tests: edge, workerd, sample bank and sample sink, started once per file from the repository's own
 * configuration, and callers that travel it: over node:https with a certificate of the development PKI, or with octets of
 * their own over TLS. Events are awaited by request id; nothing here waits for time to pass.
 */
import { execFileSync } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http"
import { request as startRequest, type Agent } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { connect } from "node:tls"
import { startDevelopment, type Development, type Notice } from "../../cli/development.ts"

/** Every certificate of the development PKI that a caller can hold. */
export type Certificate = "acme" | "globex" | "revoked" | "expired" | "not-yet-valid" | "wrong-eku" | "foreign"

/** A certificate that no file of the development PKI holds. */
export interface OwnCertificate {
  readonly certificatePem: string
  readonly keyPem: string
}

/** An event as the sink received it. */
export type ReceivedEvent = Readonly<Record<string, unknown>>

/** A call over node:https. */
export interface CallOptions {
  /** Whose certificate to present; none by default. */
  readonly as?: Certificate | OwnCertificate
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Connections to use again; by default every call has one of its own. */
  readonly agent?: Agent
}

/** An answer, read to its end. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** False when the transfer broke off. */
  readonly isComplete: boolean
  /** The request id that the gateway gave. */
  readonly id: string
  /** The `code` of a problem; undefined for everything else. */
  readonly code: string | undefined
}

/** An answer as it came over the wire, to the end of its connection. */
export interface WireAnswer {
  /** One per response. */
  readonly statuses: readonly number[]
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
  readonly code: string | undefined
  readonly id: string
}

/** The road, and how to look at it. */
export interface Road extends Development {
  /** Directory of certificates and state. */
  readonly state: string
  /** Everything that reached the sink so far, in the order of arrival. */
  readonly events: readonly ReceivedEvent[]
  readonly notices: readonly Notice[]
  /** Resolves with the event of a request, now or when it arrives. */
  eventOf(id: string): Promise<ReceivedEvent>
  /** Resolves with the next notice whose text matches. */
  noticeOf(pattern: RegExp): Promise<Notice>
  call(path: string, options?: CallOptions): Promise<Answer>
  /** Sends a request line and field lines as they are, and reads until the connection ends. */
  send(
    line: string,
    fields: readonly string[],
    options?: { as?: Certificate; localAddress?: string },
  ): Promise<WireAnswer>
  /** Takes an event that another sink received. */
  record(event: ReceivedEvent): void
  /** The TLS options of a caller. */
  identity(as: Certificate | OwnCertificate | undefined): Promise<{ ca: string; cert?: string; key?: string }>
}

/** What differs from the repository's configuration. */
export interface RoadOptions {
  /** Variables in place of those of the file. */
  readonly overrides?: Readonly<Record<string, unknown>>
  /** Changes to the text of the file, for what is no variable. */
  readonly edit?: (toml: string) => string
}

const ROOT = resolve(import.meta.dirname, "../..")

/** What every road has, whatever the file says: its sample origin and its keys' route need a signing key. */
const GATEWAY = {
  hosts: ["localhost"],
  log_flush: "10ms",
  assertion: { issuer: "https://localhost", keys: ["ASSERTION_KEY"] },
  idempotency: { keys: ["IDEMPOTENCY_KEY"] },
}

/** The sample authorization server's place, which a route of the file names; where it runs is filled in. */
const ISSUER = { url: "http://127.0.0.1:9100" }

/** Origins in place of those of the file need the issuer among them. */
function withIssuer(overrides: RoadOptions["overrides"]): RoadOptions["overrides"] {
  const origins = overrides?.["ORIGINS"]
  return origins === undefined ? overrides : { ...overrides, ORIGINS: { issuer: ISSUER, ...origins } }
}

/** Starts everything. The caller closes it. */
export async function startRoad({ overrides, edit }: RoadOptions = {}): Promise<Road> {
  const state = await mkdtemp(join(tmpdir(), "sekisho-road-"))
  const events: ReceivedEvent[] = []
  const notices: Notice[] = []
  const eventsWaited = createWaits<ReceivedEvent>()
  const noticesWaited = createWaits<Notice>()
  const record = (event: ReceivedEvent): void => {
    events.push(event)
    eventsWaited.tell(event)
  }
  const development = await startDevelopment({
    configFile: edit === undefined ? join(ROOT, "wrangler.toml") : await writeConfig(state, edit),
    environment: undefined,
    port: 0,
    state,
    samples: true,
    watches: false,
    // Events are awaited one by one; a buffer that waits as long as in the file would take half of the time.
    overrides: { GATEWAY, ...withIssuer(overrides) },
    paint: (_, text) => text,
    onRecord: record,
    onNotice(notice) {
      notices.push(notice)
      noticesWaited.tell(notice)
    },
  })
  const { port } = development

  async function identity(as: Certificate | OwnCertificate | undefined) {
    const ca = await readFile(join(state, "pki", "ca.pem"), "utf8")
    if (as === undefined) return { ca }
    if (typeof as !== "string") return { ca, cert: as.certificatePem, key: as.keyPem }
    const pem = await readFile(join(state, "pki", "clients", `${as}.pem`), "utf8")
    return { ca, cert: pem, key: pem }
  }

  return {
    ...development,
    reload: async (changed) => development.reload(withIssuer(changed)),
    state,
    events,
    notices,
    record,
    identity,
    eventOf: (id) => eventsWaited.next(events, (event) => event["request_id"] === id),
    noticeOf: (pattern) => noticesWaited.next([], ({ text }) => pattern.test(text)),
    async call(path, { as, method = "GET", headers = {}, body, agent } = {}) {
      const outgoing = startRequest({
        ...(await identity(as)),
        host: "127.0.0.1",
        servername: "localhost",
        port,
        path,
        method,
        headers: { Host: "localhost", ...headers },
        agent: agent ?? false,
      })
      return readAnswer(outgoing.end(body))
    },
    async send(line, fields, { as, localAddress } = {}) {
      const options = { ...(await identity(as)), ...(localAddress === undefined ? {} : { localAddress }) }
      return new Promise((done, fail) => {
        const socket = connect({ ...options, host: "127.0.0.1", servername: "localhost", port })
        const chunks: Buffer[] = []
        socket.on("data", (chunk: Buffer) => chunks.push(chunk))
        socket.on("error", fail)
        socket.on("close", () => done(parseWire(Buffer.concat(chunks).toString("latin1"))))
        socket.write(Buffer.from([line, ...fields, "Connection: close", "", ""].join("\r\n"), "latin1"))
      })
    },
    async close() {
      await development.close()
      await rm(state, { recursive: true, force: true })
    },
  }
}

/** Reads the answer to a request that was sent; rejects when none begins. */
export function readAnswer(outgoing: ReturnType<typeof startRequest>): Promise<Answer> {
  return new Promise((done, fail) => {
    outgoing.on("error", fail)
    outgoing.on("response", (incoming) => {
      const chunks: Buffer[] = []
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
      // A broken transfer is an answer too: what came of it is looked at.
      incoming.on("error", () => {})
      incoming.on("close", () => {
        const body = Buffer.concat(chunks).toString("utf8")
        const { headers, statusCode = 0, complete } = incoming
        const id = String(headers["x-request-id"] ?? "")
        done({ status: statusCode, headers, body, isComplete: complete, id, code: codeOf(body) })
      })
    })
  })
}

/**
 * Waits for the first octets of an answer's content. It listens from within the event that begins the answer: header and
 * content may come in one read, and a listener that a promise attaches afterwards would miss them.
 */
export function readFirstChunk(outgoing: ReturnType<typeof startRequest>): Promise<Buffer> {
  return new Promise((done) => outgoing.once("response", (incoming) => incoming.once("data", done)))
}

function parseWire(text: string): WireAnswer {
  const [head = "", ...rest] = text.split("\r\n\r\n")
  const body = rest.join("\r\n\r\n")
  const headers = new Map(
    head
      .split("\r\n")
      .slice(1)
      .map((field) => [field.slice(0, field.indexOf(":")).toLowerCase(), field.slice(field.indexOf(":") + 1).trim()]),
  )
  return {
    statuses: [...text.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status]) => Number(status)),
    headers,
    body,
    code: codeOf(body),
    id: headers.get("x-request-id") ?? "",
  }
}

function codeOf(body: string): string | undefined {
  try {
    return (JSON.parse(body) as { readonly code?: string }).code
  } catch {
    return undefined
  }
}

/** Things that are told once, to those who wait for one of them. */
function createWaits<T>() {
  const waits = new Set<(item: T) => void>()
  return {
    tell(item: T): void {
      for (const wait of waits) wait(item)
    },
    /** Resolves with the first item that fits, out of those told before or from now on. */
    next(told: readonly T[], fits: (item: T) => boolean): Promise<T> {
      const found = told.find(fits)
      if (found !== undefined) return Promise.resolve(found)
      return new Promise((done) => {
        const wait = (item: T): void => {
          if (!fits(item)) return
          waits.delete(wait)
          done(item)
        }
        waits.add(wait)
      })
    },
  }
}

/** Writes a changed copy of the repository's configuration that still runs the repository's Worker. */
export async function writeConfig(directory: string, edit: (toml: string) => string): Promise<string> {
  const toml = await readFile(join(ROOT, "wrangler.toml"), "utf8")
  const file = join(directory, "wrangler.toml")
  await writeFile(
    file,
    edit(toml.replace('main = "src/index.ts"', `main = ${JSON.stringify(join(ROOT, "src/index.ts"))}`)),
  )
  return file
}

/** An origin under a test's control. */
export interface Origin {
  readonly url: string
  readonly port: number
  /** Method and target of every request, in the order of arrival. */
  readonly requests: readonly { readonly line: string; readonly headers: IncomingHttpHeaders }[]
  /** Resolves with the next request and its response. */
  arrival(): Promise<readonly [IncomingMessage, ServerResponse]>
  /** Closes the port and resets every connection. */
  close(): Promise<void>
}

/** Starts an origin that answers with `answer`, by default 200 and "ok". */
export async function startOrigin(
  answer: (request: IncomingMessage, response: ServerResponse) => void = (_, response) => response.end("ok"),
): Promise<Origin> {
  const requests: { line: string; headers: IncomingHttpHeaders }[] = []
  const arrivals = createWaits<readonly [IncomingMessage, ServerResponse]>()
  const server = createServer((request, response) => {
    requests.push({ line: `${request.method} ${request.url}`, headers: request.headers })
    response.on("error", () => {})
    arrivals.tell([request, response])
    answer(request, response)
  })
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    arrival: () => arrivals.next([], () => true),
    async close() {
      if (!server.listening) return
      const closed = new Promise((done) => server.close(done))
      server.closeAllConnections()
      await closed
    },
  }
}

/** Returns the process ids of this process's children, or those of `parent`, whose command line holds `text`. */
export function childrenOf(text: string, parent = process.pid): readonly number[] {
  return execFileSync("ps", ["-A", "-o", "pid=,ppid=,args="], { encoding: "utf8" })
    .split("\n")
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [])
    .filter(([, , ppid, args]) => Number(ppid) === parent && args?.includes(text) === true)
    .map(([, pid]) => Number(pid))
}
