/**
 * THE ORDER.
 *
 * The stages of a request's life, first to last: the first sees the request first and the response last. Nothing else
 * decides order; `src/gateway.ts` only builds what stands here, README's table and `sekisho check` are checked against it or
 * printed from it. Each entry says why it stands where it stands; the Worker carries the order alone, not the reasons.
 */
import type { ProblemCode } from "./core/problem.ts"

/** The stages, in the order in which a request meets them. */
export const ORDER = [
  "access-log",
  "request-id",
  "target",
  "route",
  "ip-limit",
  "certificate",
  "identity",
  "trace",
  "client-gate",
  "token",
  "access-policy",
  "respond",
  "idempotency",
  "audit",
  "origin",
] as const

/** The name of a stage. */
export type StageName = (typeof ORDER)[number]

/** What a stage is for, in one word: the folder it lives in. */
export type Verb = "observe" | "admit" | "authorize" | "forward"

/** One entry of the order. */
export interface PipelineEntry {
  readonly verb: Verb
  readonly stage: StageName
  /** What it decides or adds. */
  readonly decides: string
  /** Codes it answers with. */
  readonly refuses: readonly ProblemCode[]
  /** Why it stands before the next one. */
  readonly because: string
}

const ENTRIES: Readonly<Record<StageName, Omit<PipelineEntry, "stage">>> = {
  "access-log": {
    verb: "observe",
    decides: "one canonical event per request, whatever the outcome",
    refuses: ["internal-error"],
    because: "It has to see every answer, also those of stages that fail.",
  },
  "request-id": {
    verb: "observe",
    decides: "mints the request id and starts a trace",
    refuses: [],
    because: "Every later answer and event carries the id, so it exists before anything can be refused.",
  },
  target: {
    verb: "admit",
    decides: "host on the allow-list, path in canonical form, no field that says two things",
    refuses: [
      "host-rejected",
      "misdirected-request",
      "path-rejected",
      "uri-too-long",
      "headers-too-large",
      "malformed-header",
      "duplicate-header",
      "malformed-request",
    ],
    because: "Routes, policies and the origin must all see the same path, so it is settled before anyone looks at it.",
  },
  route: {
    verb: "admit",
    decides:
      "routes of the host first: exact path, else first matching regex, else longest prefix; method; the origin's path",
    refuses: ["route-not-found", "method-not-allowed", "path-rejected"],
    because: "It costs a map lookup, and only a route knows whether a certificate is needed.",
  },
  "ip-limit": {
    verb: "admit",
    decides: "a coarse limit per address: each IPv4 address, each IPv6 /64",
    refuses: ["ip-rate-limited"],
    because: "Strangers cost a lookup, not a certificate check or an object.",
  },
  certificate: {
    verb: "admit",
    decides: "the platform's facts and the leaf's own agree on a valid, unrevoked client certificate",
    refuses: ["client-cert-required", "client-cert-invalid", "edge-assertion-invalid", "service-unavailable"],
    because: "Nothing that a caller types names a client; this is the only proof there is.",
  },
  identity: {
    verb: "admit",
    decides: "which client the certificate belongs to: exactly one, enabled, by a rule that has not ended",
    refuses: ["client-unknown", "client-ambiguous", "client-disabled", "client-cert-retired", "service-unavailable"],
    because: "Limits are counted per client, and an unknown certificate must not create a counter.",
  },
  trace: {
    verb: "observe",
    decides: "adopts the client's own request id and trace when they are well formed",
    refuses: [],
    because: "Only a caller with a name may name its requests; before identity it has none.",
  },
  "client-gate": {
    verb: "admit",
    decides:
      "guards closed, and something taken from all of the client's limits or from none: exactly, over every isolate",
    refuses: ["client-blocked", "rate-limited", "quota-exceeded", "concurrency-exceeded", "service-unavailable"],
    because:
      "It may ask another object, it must not count what was refused before, and its guards have to see every failure behind it.",
  },
  token: {
    verb: "authorize",
    decides:
      "an access token where the route asks for one: verified, meant for us, bound to this certificate and client",
    refuses: [
      "token-missing",
      "token-invalid",
      "token-expired",
      "token-binding-mismatch",
      "token-client-mismatch",
      "malformed-request",
      "service-unavailable",
    ],
    because:
      "It costs a signature check, which limits have to bound, and the guard in front has to see what fails here.",
  },
  "access-policy": {
    verb: "authorize",
    decides: "whether the token grants the scopes that the method of the route needs",
    refuses: ["insufficient-scope"],
    because: "What may be done is asked of whoever is known, and before anything is done.",
  },
  respond: {
    verb: "forward",
    decides:
      "answers routes that end at the gateway, such as /healthz and the public keys of assertions, and upgrades where there are none",
    refuses: ["upgrade-not-allowed", "malformed-request", "service-unavailable"],
    because: "It is an origin of its own: whatever guards an origin guards these routes too.",
  },
  idempotency: {
    verb: "forward",
    decides:
      "where the route has keys: whether a request is the first under its key, and answers repeats with what the first one got",
    refuses: [
      "idempotency-key-required",
      "idempotency-key-invalid",
      "idempotency-key-reused",
      "idempotency-in-progress",
      "idempotency-indeterminate",
      "idempotency-response-not-replayable",
      "body-too-large",
      "request-timeout",
      "origin-invalid-response",
      "service-unavailable",
    ],
    because: "A repeat has to be admitted like any request, and nothing may reach an origin twice.",
  },
  audit: {
    verb: "observe",
    decides:
      "intent on the client's audit trail before the origin is asked, outcome before the answer leaves, where required",
    refuses: ["service-unavailable"],
    because: "What gets this far is about to happen, and what cannot be put on record must not.",
  },
  origin: {
    verb: "forward",
    decides:
      "forwards with proof of who asks, to a URL that can be asked, streaming both ways; a deadline, and retries of what may be repeated; classifies what went wrong",
    refuses: [
      "origin-unreachable",
      "origin-timeout",
      "origin-invalid-response",
      "body-too-large",
      "origin-not-allowed",
      "malformed-request",
      "service-unavailable",
    ],
    because: "Everything before it had to say yes.",
  },
}

/** The order, with what there is to say about each stage. Marked as pure: a bundle in which nobody reads it leaves it out. */
export const PIPELINE: readonly PipelineEntry[] = /* @__PURE__ */ ORDER.map((stage) => ({ stage, ...ENTRIES[stage] }))
