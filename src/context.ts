/**
 * What travels with a request through the pipeline: each stage adds what it learned, later stages and the event read it.
 *
 * One record per request, held as the only Hono variable. Stages never import each other; this is where they meet.
 */
import type { Context } from "hono"
import type { TokenFacts } from "./core/token/access-token.ts"
import type { Config, ConfiguredClient, Origin, Route } from "./config/config.ts"
import type { ClientCertificate } from "./core/certificate/certificate.ts"
import type { Outcome } from "./core/record/event.ts"
import type { AssertionClaims } from "./core/assertion/gateway-assertion.ts"
import type { KeyedRequest } from "./core/idempotency/idempotency-key.ts"
import type { IdempotencyOutcome, KeyIdentity } from "./core/idempotency/idempotency-ledger.ts"
import type { ReceivedFields } from "./core/message/header-section.ts"
import type { IdentityDecision } from "./core/certificate/identity.ts"
import type { GaugeName } from "./core/metric/metric-catalogue.ts"
import type { Tally } from "./core/metric/metrics.ts"
import type { OutcomeResult } from "./core/guard/outcome.ts"
import type { GateVerdict } from "./core/gate/gate-verdict.ts"
import type { ProblemCode } from "./core/problem.ts"
import type { ChildSpan, SpanAttributes } from "./core/record/span.ts"
import type { TraceContext } from "./core/record/trace-context.ts"
import type { Close, ClosedBy, Standing, UpgradeDecision } from "./core/message/websocket.ts"

/** The life of one request so far. Members are undefined until the stage that learns them has run. */
export interface Exchange {
  readonly arrivedMs: number
  /** Set by request-id; may be replaced once by trace. */
  requestId: string
  trace: TraceContext
  /** Where the trace that was minted for it stands among all (`core/record/sampling.ts`). */
  tracePlace: number
  /** Set while the trace is sampled and some sink takes spans. */
  spans?: SpanCollector | undefined
  outcome: Outcome
  /** The header section of the request, read once. */
  received?: ReceivedFields
  host?: string
  path?: string
  /** Raw query with its "?", or "". */
  query?: string
  route?: Route
  /** The path that the origin of the route gets: `path`, unless the route rewrites it. Canonical. */
  originPath?: string
  certificate?: ClientCertificate
  /** Set when nobody knew whether the certificate is revoked and it passed all the same. */
  revocationUnknown?: "stale" | "missing" | "unavailable"
  /** Also of a client that is known and may not pass. */
  client?: ConfiguredClient
  /** End of the certificate's overlap window, epoch ms. */
  certificateRetiresAtMs?: number
  /** A token that is verified; whether it may be used here the `token` stage has decided when it hands on. */
  token?: VerifiedToken
  /** Set when the limit per address did not answer and the request passed uncounted. */
  ipLimit?: "unavailable"
  gate?: GateVerdict
  /** What the answer counted as for the guards of the route; neutral answers are not noted. */
  guardOutcome?: "success" | "failure"
  /** Why a guard could not be told how the request ended. */
  guardUntold?: string
  /** Set on routes with an origin when the request asks for a WebSocket. */
  upgrade?: Exclude<UpgradeDecision, { readonly kind: "none" }>
  /**
   * How it is asked again, while the socket is open, whether what a stage has found still holds: every stage that admits an
   * upgrade adds its own. Undefined for every other request, which is over before anything could change.
   */
  rechecks?: Recheck[]
  /** Set once both sides of a WebSocket are connected. */
  socket?: OpenSocket
  /** Octets of the request body, where they had to be known before the origin is asked: it is sent these. */
  body?: Uint8Array<ArrayBuffer>
  /** How the request fares with its idempotency key; undefined where none counts. */
  idempotency?: IdempotencyOutcome
  originMs?: number
  /** How often the request was sent to the origin. */
  originAttempts?: number
  /** Set when the origin of the route answered badly too often lately. */
  originUnhealthy?: true
  /** Names the request on the client's audit trail: minted here, because a caller may give two requests one id. */
  auditId?: string
  /** Set once the intent is on the trail; `delayed` when the outcome did not get there before the answer left. */
  audit?: "recorded" | "delayed"
  /** What the outcome on the trail says: a stage further out may still have to answer something else. */
  auditedProblem?: ProblemCode
  problem?: ProblemCode
  /** Exact reason of a refusal or failure, for the event only. */
  reason?: string
}

/** What left the isolate on behalf of a request, for its trace. */
export interface SpanCollector {
  /** Returns an id for a span that somebody else has to know before it ends. */
  mintId(): string
  /** Keeps a span that has ended. One that ends after the event of its request is lost. */
  add(span: EndedSpan): void
  /** Returns all of them, once. */
  take(): readonly ChildSpan[]
}

/** A span that has ended; its id is minted where nobody else has to know it. */
export type EndedSpan = Omit<ChildSpan, "spanId"> & { readonly spanId?: string }

/** One question about a client that has a socket open. */
export interface Recheck {
  /** Longest time between two askings, ms; undefined where the route's `recheck` is often enough. */
  readonly everyMs?: number
  /** Never rejects: what is not known is a standing, too. */
  readonly ask: () => Standing | Promise<Standing>
}

/** A socket that is open. */
export interface OpenSocket {
  /** Settles, and never rejects, when both sides are closed or count as such. */
  readonly closed: Promise<SocketEnd>
}

/** How a socket ended. Messages and octets as received from the client (`in`) and from the origin (`out`). */
export interface SocketEnd {
  readonly openedMs: number
  readonly closedMs: number
  readonly closedBy: ClosedBy
  readonly code: Close["code"]
  /** Why the gateway closed it; undefined when it did not. */
  readonly reason: string | undefined
  readonly messagesIn: number
  readonly bytesIn: number
  readonly messagesOut: number
  readonly bytesOut: number
}

/** What a verified token says, and whose it is. */
export interface VerifiedToken extends TokenFacts {
  /** Configured name of the authorization server. */
  readonly server: string
}

/** What Hono's context knows in this gateway. */
export interface GatewayEnv {
  readonly Bindings: Env
  readonly Variables: { exchange: Exchange }
}

/** The context that every stage gets. */
export type GatewayContext = Context<GatewayEnv>

/**
 * A stage: it answers, or it hands on and returns what `next` returns. One that has something to do behind the next one, or has to wait,
 * is asynchronous; any other is not, because each wait is paid for with every request.
 */
export type StageHandler = (c: GatewayContext, next: () => Promise<void>) => Response | Promise<Response | void>

/** The outside world of one gateway: configuration, clock, randomness, whose word request.cf is, and how its origins stand. */
export interface Gateway {
  readonly config: Config
  readonly trust: PlatformTrust
  readonly nowMs: () => number
  /** Fills the octets with randomness and returns them. */
  readonly fillRandom: (octets: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>
  readonly originHealth: OriginHealth
  readonly directory: ClientDirectory
  /** Undefined when the configuration names no keys. */
  readonly assertionKeys?: AssertionKeys | undefined
  /** Undefined when the configuration names no keys. */
  readonly recordKeys?: RecordKeys | undefined
  /** Undefined where nobody counts. */
  readonly metrics?: MetricsRecorder | undefined
  /** Returns the platform's own span of the request while it is traced; undefined where the runtime has no such thing. */
  readonly platformSpan?: (() => PlatformSpan | undefined) | undefined
}

/** A span that the platform makes and exports: of it the gateway only adds what it knows. */
export interface PlatformSpan {
  setAttributes(attributes: SpanAttributes): void
}

/** What one isolate counts, and how it tells. */
export interface MetricsRecorder extends Tally {
  /** Sets how something stands now in this isolate. */
  setGauge(name: GaugeName, value: number): void
  /** Sees to it that what was counted is told soon. Returns at once and never throws; does nothing without a binding. */
  reportSoon(object: Env["METRICS"], ctx: Pick<ExecutionContext, "waitUntil">): void
  /** Tells what was counted so far. Never rejects. */
  report(object: Env["METRICS"]): Promise<void>
}

/**
 * Who the clients are. What stands behind it, the configuration or an inventory in a database, no stage can tell.
 *
 * A directory is asked with every request that shows a certificate, so it answers from memory or within milliseconds; the
 * `identity` stage waits `CLIENT_DIRECTORY_TIMEOUT_MS` and refuses with 503 then. Whatever it cannot answer for certain (its
 * store is down, a row cannot be read, a copy is too old) it throws; the stage refuses with 503 too, and shows nothing of the
 * error. It never answers `client-unknown` for not having looked.
 */
export interface ClientDirectory {
  /**
   * Returns whose certificate this is at `nowMs`, epoch ms, by the rules of `core/certificate/identity.ts`: of all rules that match, none of
   * another client. Throws or rejects when it does not know.
   */
  find(
    certificate: ClientCertificate,
    nowMs: number,
  ): IdentityDecision<ConfiguredClient> | Promise<IdentityDecision<ConfiguredClient>>
  /**
   * Returns the clients whose `reviewSlotOf(id, slots)` is `slot`, one by one or page by page, in any order. Asked by the daily
   * review, never by a request. May throw.
   */
  clientsOf(slot: number, slots: number): Iterable<ConfiguredClient> | AsyncIterable<ConfiguredClient>
}

/** The keys that sign what the gateway asserts to origins. */
export interface AssertionKeys {
  /** Returns the assertion as a compact JWS, or why the signing key cannot be used. */
  sign(claims: AssertionClaims): Promise<KeyResult>
  /** Returns the public parts of all keys as the JSON of a JWK Set, or why one of them cannot be used. */
  publish(): Promise<KeyResult>
}

/** What a key was used for, or the reason for the event why it was not; it names the secret, never what that holds. */
export type KeyResult = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly reason: string }

/** The keys that protect what is remembered of requests with an idempotency key. */
export interface RecordKeys {
  /** Returns how the request looks under each key, first the one in use, or why one of them cannot be used. */
  identify(
    request: KeyedRequest,
  ): Promise<
    | { readonly ok: true; readonly identities: readonly RecordIdentity[] }
    | { readonly ok: false; readonly reason: string }
  >
  /** Returns the octets encrypted with the key in use, as a compact JWE that opens for this identity only. */
  seal(octets: Uint8Array, identity: RecordIdentity): Promise<string>
  /** Returns what was sealed for this identity; undefined for anything else. */
  open(answer: string, identity: RecordIdentity): Promise<Uint8Array | undefined>
}

/** How a request looks under one key, and a keyed digest of its client. */
export interface RecordIdentity extends KeyIdentity {
  readonly client: string
}

/** What one isolate knows about its origins. Instants are epoch ms. */
export interface OriginHealth {
  /** Returns true while every URL of the origin of that name counts as one that answers badly too often. */
  isUnhealthy(origin: string, nowMs: number): boolean
  /** Takes a request of the origin into account, once however often it is sent, so that retries are earned. */
  countRequest(origin: Origin, nowMs: number): void
  /** Returns true, and spends a retry, when one is left. */
  takeRetry(origin: Origin, nowMs: number): boolean
  /** Returns the URL for the next attempt, which was not tried while another can be asked, or how long all of them are skipped. */
  choose(origin: Origin, tried: ReadonlySet<number>, nowMs: number): ChosenUrl
  /** Takes the outcome of an attempt that ended at `nowMs`. Once for each. */
  record(origin: Origin, attempt: OriginAttempt, result: OutcomeResult, nowMs: number): void
}

/** One sending of a request. */
export interface OriginAttempt {
  /** Index of the URL. */
  readonly index: number
  readonly startedMs: number
  /** Set on the one request that finds out whether a URL is back. */
  readonly probeId: string | undefined
}

/** `retryAfterMs` is null when nobody knows. */
export type ChosenUrl =
  | ({ readonly kind: "chosen" } & OriginAttempt)
  | { readonly kind: "open"; readonly retryAfterMs: number | null }

/**
 * Who fills request.cf: Cloudflare, the local edge that shares a key with this Worker, or nobody that can be believed.
 */
export type PlatformTrust =
  | { readonly kind: "cloudflare" }
  | { readonly kind: "edge"; readonly key: Uint8Array<ArrayBuffer> }
  | { readonly kind: "nobody" }

/**
 * Returns a value that an earlier stage has set. Its absence is a fault in the order of stages; throwing makes the request
 * fail closed.
 */
export function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new Error(`Stage order broken: ${name} is not set yet`)
  return value
}
