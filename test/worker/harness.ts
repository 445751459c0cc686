/**
 * One gateway under test: the attacks' configuration, requests as a platform hands them over, and the event of each.
 *
 * Events are what the gateway writes to its console; the console is captured for the whole test and must hold exactly
 * one line per request. Client ids differ from gateway to gateway, so no test meets another one's objects.
 */
import { createExecutionContext, listDurableObjectIds, waitOnExecutionContext } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { afterEach, beforeEach, expect, inject, vi } from "vitest"
import { loadConfig } from "../../src/config/load.ts"
import type { Config } from "../../src/config/config.ts"
import { createEmbeddedDirectory } from "../../src/client-directory.ts"
import type { ClientDirectory, OriginHealth, PlatformSpan, PlatformTrust } from "../../src/context.ts"
import type { AccessEvent, GuardRecord } from "../../src/core/record/event.ts"
import { NO_CLIENT_CERTIFICATE, type TlsClientAuth } from "../../src/core/certificate/platform-certificate.ts"
import type { ProblemDocument } from "../../src/core/problem.ts"
import { createFront } from "../../src/front.ts"
import { AuditTrail } from "../../src/index.ts"
import { createAssertionKeys } from "../../src/keys/assertion-keys.ts"
import { createRecordKeys } from "../../src/keys/record-keys.ts"
import { createMetrics } from "../../src/observe/metrics.ts"
import { createOriginHealth } from "../../src/origin/origin-health.ts"
import { parseEventMessage, type EventMessage } from "../../src/observe/event-message.ts"
import type { SinkEndpoint } from "../../src/sinks/post.ts"
import type { CertificateName, OriginRecord, SinkRecord } from "./provided.ts"

/** Ports and certificates from `global-setup.ts`. */
export const fixtures = inject("fixtures")

/** The caller's address that the platform reports unless a test says otherwise. */
export const CLIENT_ADDRESS = "192.0.2.7"

/** A guard record as it goes through the queue. */
export const GUARD_RECORD: GuardRecord = {
  timestamp: "2027-01-01T00:00:00.000Z",
  level: "warn",
  event: "guard.opened",
  guard: "credentials",
  key_kind: "client",
  client_id: "acme",
  reason: "failures",
  blocked_until: "2027-01-01T00:05:00.000Z",
  attempt: 1,
}

let consoleLines: string[] = []

beforeEach(() => {
  consoleLines = []
  // Those of wrangler.toml are nowhere; a test of trails brings its own.
  setAuditSinks([])
  vi.spyOn(console, "log").mockImplementation((line: string) => void consoleLines.push(line))
})
afterEach(() => {
  vi.restoreAllMocks()
})

/** Every line that was written to the console in this test. */
export function writtenLines(): readonly string[] {
  return consoleLines
}

/** Returns the message in what was sent to the queue, which is text of isolates and a table of objects. */
export function readMessage(body: unknown): EventMessage {
  const message = parseEventMessage(body)
  if (message === undefined) throw new Error("The queue was sent what is no message")
  return message
}

/** Gives the objects of audit trails other sinks, until the end of the test. */
export function setAuditSinks(sinks: readonly SinkEndpoint[]): void {
  vi.spyOn(
    AuditTrail.prototype as unknown as { readonly sinks: readonly SinkEndpoint[] },
    "sinks",
    "get",
  ).mockReturnValue(sinks)
}

/** What differs from the usual surroundings of a gateway. */
export interface GatewayOptions {
  readonly trust?: PlatformTrust
  readonly nowMs?: () => number
  readonly fillRandom?: (octets: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>
  /** The platform's own span. */
  readonly platformSpan?: () => PlatformSpan
  /** In place of the clients of the configuration. */
  readonly directory?: ClientDirectory
  /** Bindings that replace those of `wrangler.toml`. */
  readonly bindings?: Partial<Env>
  /** Count in an object of the metrics that is called like the gateway; otherwise nobody counts. */
  readonly counts?: boolean
  /** Worker secrets, by name. */
  readonly secrets?: Readonly<Record<string, unknown>>
}

/** What a test sends. The defaults are a GET of `/public/x` at `gw.test` with the certificate of `acme-a`. */
export interface RequestParts {
  readonly method?: string
  readonly host?: string
  /** Path and query. `new Request()` normalises it; raw targets are tested on a socket. */
  readonly target?: string
  readonly headers?: HeadersInit
  readonly body?: BodyInit | null
  readonly signal?: AbortSignal
  /** The verified certificate of the connection; "none" for a connection without one. */
  readonly cert?: CertificateName | "none"
  /** Members of `tlsClientAuth` that differ from what the platform says about `cert`. */
  readonly tlsClientAuth?: Readonly<Record<string, unknown>>
  /** The whole of `request.cf`; undefined leaves it away. */
  readonly cf?: unknown
}

/** An answer and what was written about it. */
export interface Exchanged {
  readonly response: Response
  readonly event: AccessEvent
}

/** A gateway under test. */
export interface TestGateway {
  /** Names this gateway in the origin's and the sink's records, and ends every client id. */
  readonly name: string
  readonly config: Config
  /** What this gateway has learned about its origins. */
  readonly originHealth: OriginHealth
  readonly send: (parts?: RequestParts) => Promise<Exchanged>
  /** As `send`, without looking for an event. */
  readonly fetch: (parts?: RequestParts) => Promise<Response>
  /** As `fetch`, without waiting for what goes on after the response header, such as the delivery of a body. */
  readonly open: (parts?: RequestParts) => Promise<Response>
  /** The full id of a client, such as `acme-a`. */
  readonly clientId: (client: string) => string
  /** Tells the object of the metrics what was counted so far. */
  readonly report: () => Promise<void>
  /** What has reached this gateway's origin. */
  readonly originRequests: () => Promise<readonly OriginRecord[]>
}

type Variables = Readonly<Record<string, unknown>>

/** Returns the attacks' fixture configuration, with `overrides` in place of whole variables. */
export function variables(name: string, overrides: Variables = {}): Variables {
  const { certificates, originPort, skis } = fixtures
  return {
    GATEWAY: { hosts: ["gw.test", "a.test", "b.test"], log_flush: "10ms" },
    ISSUERS: { "ca-a": { ski: skis["ca-a"] }, "ca-b": { ski: skis["ca-b"] } },
    CLIENTS: [
      {
        id: `acme-a-${name}`,
        certificates: [
          { issuer: "ca-a", san_uri: "spiffe://acme/acme-a" },
          { fingerprint: certificates["uri of acme-b"].fingerprint },
          { fingerprint: certificates.expired.fingerprint },
        ],
      },
      { id: `acme-b-${name}`, certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-b" }] },
      { id: `acme-dn-${name}`, certificates: [{ issuer: "ca-a", subject: "CN=acme-dn" }] },
    ],
    ORIGINS: { stub: { url: `http://127.0.0.1:${originPort}/${name}`, timeout: "10s" } },
    LIMITS: { generous: { rate: "1000/s", burst: 1_000 } },
    ROUTES: [
      { path: "/healthz", methods: ["GET"], client_certificate: "none", respond: { status: 200, body: "ok\n" } },
      { prefix: "/public", origin: "stub", limits: "generous" },
      { prefix: "/admin", origin: "stub", limits: "generous" },
      { path: "/pay", methods: ["POST"], origin: "stub", limits: "generous" },
      { regex: "^/v[0-9]+/items$", methods: ["GET"], origin: "stub", limits: "generous" },
      {
        path: "/allowed",
        methods: ["GET"],
        origin: "stub",
        limits: "generous",
        forward_headers: ["x-allowed"],
      },
    ],
    ...overrides,
  }
}

/** Returns a gateway built from {@link variables}, as `src/index.ts` builds one. */
export function createGateway(
  overrides: Variables | ((name: string) => Variables) = {},
  options: GatewayOptions = {},
): TestGateway {
  const name = crypto.randomUUID().slice(0, 8)
  const loaded = loadConfig(variables(name, typeof overrides === "function" ? overrides(name) : overrides))
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors))
  const { config } = loaded
  const originHealth = createOriginHealth(() => 0)
  const outside = {
    config,
    nowMs: options.nowMs ?? (() => Date.now()),
    fillRandom: options.fillRandom ?? ((octets: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(octets)),
    originHealth,
  }
  const metrics = options.counts === true ? createMetrics(outside) : undefined
  // One object for each gateway, or every test would read what the others count.
  const counting = { getByName: () => env.METRICS?.getByName(name) } as unknown as NonNullable<Env["METRICS"]>
  const answer = createFront({
    ...outside,
    trust: options.trust ?? { kind: "cloudflare" },
    metrics,
    platformSpan: options.platformSpan,
    directory: options.directory ?? createEmbeddedDirectory(config),
    assertionKeys: config.assertion && createAssertionKeys(config.assertion, options.secrets ?? {}),
    recordKeys: config.idempotency && createRecordKeys(config.idempotency, options.secrets ?? {}),
  })
  const handle = (parts: RequestParts, ctx: ExecutionContext): Promise<Response> => {
    // All tests have one address; only a test that brings a limit for it may run into one.
    const { IP_LIMIT: _, ...bindings } = env
    const own = metrics === undefined ? {} : { METRICS: counting }
    const bound = { ...bindings, ...own, ...options.secrets, ...options.bindings }
    return Promise.resolve(answer(createRequest(parts), bound, ctx))
  }
  const fetchGateway = async (parts: RequestParts = {}): Promise<Response> => {
    const ctx = createExecutionContext()
    const response = await handle(parts, ctx)
    await waitOnExecutionContext(ctx)
    return response
  }
  return {
    name,
    config,
    originHealth,
    fetch: fetchGateway,
    open: (parts = {}) => handle(parts, createExecutionContext()),
    send: async (parts) => {
      const response = await fetchGateway(parts)
      return { response, event: eventOf(response) }
    },
    report: async () => metrics?.report(counting),
    clientId: (client) => `${client}-${name}`,
    originRequests: () => ask<readonly OriginRecord[]>(`requests/${name}`).then((records) => records ?? []),
  }
}

/** Returns the request as the platform would hand it to the Worker. */
export function createRequest(parts: RequestParts = {}): Request {
  const { method = "GET", host = "gw.test", target = "/public/x", body = null, signal } = parts
  const headers = new Headers(parts.headers)
  if (!headers.has("host")) headers.set("Host", host)
  // What a client knows the length of comes with it; a stream comes without.
  if (typeof body === "string" && !headers.has("content-length"))
    headers.set("Content-Length", String(new TextEncoder().encode(body).byteLength))
  if (body instanceof Uint8Array && !headers.has("content-length"))
    headers.set("Content-Length", String(body.byteLength))
  if (!headers.has("cf-connecting-ip")) headers.set("CF-Connecting-IP", CLIENT_ADDRESS)
  const cf = "cf" in parts ? parts.cf : { tlsClientAuth: platformFacts(parts.cert ?? "acme-a", parts.tlsClientAuth) }
  return new Request(`http://${host}${target}`, {
    method,
    headers,
    body,
    redirect: "manual",
    ...(signal === undefined ? {} : { signal }),
    ...(cf === undefined ? {} : { cf: cf as IncomingRequestCfProperties }),
  })
}

/** Returns what Cloudflare reports about a connection with this certificate, verified and not revoked. */
export function platformFacts(
  cert: CertificateName | "none",
  overrides: Readonly<Record<string, unknown>> = {},
): TlsClientAuth {
  if (cert === "none") return { ...NO_CLIENT_CERTIFICATE, ...overrides }
  const { der, fingerprint, issuerSki, serial, subject } = fixtures.certificates[cert]
  // Base64 of more than 10 KiB is left away and flagged.
  const isTooLarge = der.length > (10_240 * 4) / 3
  return {
    ...NO_CLIENT_CERTIFICATE,
    certPresented: "1",
    certVerified: "SUCCESS",
    certRevoked: "0",
    certSubjectDN: subject,
    certSubjectDNRFC2253: subject,
    certSerial: serial.toUpperCase(),
    certIssuerSKI: issuerSki.toUpperCase(),
    certFingerprintSHA256: fingerprint,
    certRFC9440: isTooLarge ? "" : `:${der}:`,
    certRFC9440TooLarge: isTooLarge,
    ...overrides,
  }
}

/** Returns the one event of a response; fails unless there is exactly one. */
export function eventOf(response: Response): AccessEvent {
  const requestId = response.headers.get("x-request-id")
  const events = consoleLines
    .map((line) => JSON.parse(line) as AccessEvent)
    .filter((event) => event.request_id === requestId)
  expect(events).toHaveLength(1)
  return events[0] as AccessEvent
}

/** What a refusal must look like. */
export interface ExpectedRefusal {
  readonly status: number
  readonly code: string
  readonly reason?: string
  /** Members of the event beside outcome, status, problem and reason. */
  readonly event?: Partial<AccessEvent>
}

/**
 * Checks a refusal from all sides: status, problem document, the fields that every problem has (G4), the event, and that
 * the origin has seen nothing. Returns the document.
 */
export async function expectRefusal(
  gateway: TestGateway,
  { response, event }: Exchanged,
  { status, code, reason, event: members = {} }: ExpectedRefusal,
): Promise<ProblemDocument> {
  const text = await response.text()
  const problem = JSON.parse(text === "" ? "{}" : text) as ProblemDocument
  const requestId = response.headers.get("x-request-id")
  expect({ status: response.status, code: problem.code }).toEqual({ status, code })
  expect(problem).toMatchObject({ status, request_id: requestId })
  expect(Object.fromEntries(response.headers)).toMatchObject({
    "content-type": "application/problem+json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'",
  })
  expect(event).toMatchObject({
    request_id: requestId,
    outcome: code === "internal-error" ? "failed" : "refused",
    status,
    problem: code,
    ...(reason === undefined ? {} : { reason }),
    ...members,
  })
  expect(await gateway.originRequests()).toEqual([])
  return problem
}

/** Returns the ids of all objects that exist, also those of other tests in the file. */
export async function existingObjects(): Promise<readonly string[]> {
  return (await listDurableObjectIds(env.CLIENT_GATE)).map(String).toSorted()
}

/** Returns the values of a field in the order in which the origin received them. */
export function fieldValues(record: OriginRecord | undefined, name: string): readonly string[] {
  return (record?.fields ?? []).filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value)
}

/** Returns the posts that a sink has received at `/<test>/...`. */
export async function sinkPosts(test: string): Promise<readonly SinkRecord[]> {
  return (await ask<readonly SinkRecord[]>(`posts/${test}`)) ?? []
}

/** Returns how often somebody connected to the trap. */
export async function trapConnections(): Promise<number | null> {
  return ask<number>("trap")
}

/** Asks the control server. */
export async function ask<T>(question: string): Promise<T | null> {
  const response = await fetch(`http://127.0.0.1:${fixtures.controlPort}/${question}`)
  return response.json<T | null>()
}
