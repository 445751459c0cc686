/**
 * Spans of a request: what the gateway tells a tracing system, in the names of OpenTelemetry's HTTP conventions.
 *
 * The type is closed, as that of events is: no header value, no query and no body is in any span. One span is the server's: the request as
 * its caller sees it. Its children are what left the isolate on its behalf: each sending to an origin, calls of objects, and waiting for keys of
 * tokens. Pure; made by `observe/span-collector.ts`, exported by the sink.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/ (v1.44)
 */
import { METHODS } from "../route/route.ts"

/** Attributes that a span may have. Those of the gateway itself begin with `sekisho.`, `rate_limit.` or `guard.`. */
export interface SpanAttributes {
  /** One of the methods that the conventions know, else `_OTHER`. */
  readonly "http.request.method"?: string
  readonly "http.request.method_original"?: string
  readonly "http.response.status_code"?: number
  /** Pattern of the route, never a path that somebody typed. */
  readonly "http.route"?: string
  /** How often the request had been sent before. */
  readonly "http.request.resend_count"?: number
  readonly "url.scheme"?: string
  readonly "url.path"?: string
  /** Without user information and query. */
  readonly "url.full"?: string
  readonly "server.address"?: string
  readonly "server.port"?: number
  readonly "client.address"?: string
  /** A status code, a problem code or a word for what went wrong. */
  readonly "error.type"?: string
  /** A limit refused. */
  readonly "rate_limit.hit"?: boolean
  /** The limit that refused, else the one with the least left; and what that is. */
  readonly "rate_limit.policy"?: string
  readonly "rate_limit.remaining"?: number
  /** A guard refused; which one. */
  readonly "guard.hit"?: boolean
  readonly "guard.name"?: string
  /** What the answer counts as for the guards of the route. */
  readonly "guard.outcome"?: string
  /** As in the event of the request. */
  readonly "sekisho.request_id"?: string
  readonly "sekisho.client_id"?: string
  readonly "sekisho.outcome"?: string
  readonly "sekisho.problem"?: string
  readonly "sekisho.gate"?: string
  readonly "sekisho.origin"?: string
}

/** What a span is: the caller's request here, a request of the gateway to somebody else, or time that passed inside. */
export type SpanKind = "server" | "client" | "internal"

/** A child of the server's span while the request goes on. */
export interface ChildSpan {
  /** 16 lower-case hex digits. */
  readonly spanId: string
  readonly name: string
  readonly kind: SpanKind
  /** Epoch ms. */
  readonly startMs: number
  readonly endMs: number
  readonly attributes: SpanAttributes
  readonly isError: boolean
}

/** A span as it goes through the queue. */
export interface Span extends ChildSpan {
  /** 32 lower-case hex digits. */
  readonly traceId: string
  readonly parentSpanId?: string
  readonly tracestate?: string
  /** Flags of the trace, bit 0 sampled. */
  readonly flags: number
}

const KNOWN_METHODS: ReadonlySet<string> = new Set([...METHODS, "CONNECT", "TRACE"])

/** Returns the attributes of a method; one that the conventions do not know is `_OTHER`, with what was sent beside it. */
export function methodAttributes(method: string): SpanAttributes {
  return KNOWN_METHODS.has(method)
    ? { "http.request.method": method }
    : { "http.request.method": "_OTHER", "http.request.method_original": method }
}

/** Returns the name of a span about a request: the method, and the route where there is one. Never a path. */
export function spanName(method: string, route: string | undefined): string {
  const known = KNOWN_METHODS.has(method) ? method : "HTTP"
  return route === undefined ? known : `${known} ${route}`
}

/**
 * Returns whether a status makes a span one of an error: for who serves only what the server got wrong, for who asks also what
 * it was told that it got wrong itself.
 */
export function isErrorStatus(kind: SpanKind, status: number): boolean {
  return status >= (kind === "server" ? 500 : 400)
}

/** Returns host and port of an authority; the port is that of the scheme where none is written. */
export function serverAttributes(scheme: string, authority: string): SpanAttributes {
  const [, host = authority, port] = /^(.*?)(?::([0-9]+))?$/.exec(authority) ?? []
  const bare = host.replace(/^\[(.*)\]$/, "$1")
  return { "server.address": bare, "server.port": port === undefined ? (scheme === "https" ? 443 : 80) : Number(port) }
}
