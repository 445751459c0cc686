/**
 * W3C Trace Context: what a caller's trace fields mean, and the fields the gateway sends on.
 *
 * A verified client's valid `traceparent` is continued; everything else starts a new trace, and then `tracestate` is
 * dropped with it. Pure: random ids are arguments.
 *
 * @see https://www.w3.org/TR/trace-context-2/
 */

import { formatHex } from "../hex.ts"

/** The trace of one request: `spanId` is this gateway's span and the parent of what the origin records. */
export interface TraceContext {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string
  /** 16 lower-case hex digits, not all zero. */
  readonly spanId: string
  /** The caller's span when its trace is continued. */
  readonly parentSpanId: string | undefined
  /** Bit 0 sampled, bit 1 random; no other bit is ever set. */
  readonly flags: number
  readonly tracestate: string | undefined
}

const ALL_ZERO = /^0+$/
const SAMPLED = 0b01
const RANDOM = 0b10
const TRACESTATE_MEMBERS_MAX = 32
const TRACESTATE_LENGTH_MAX = 8_192

/** The grammar of Level 2: a key may start with a digit and may hold "@" anywhere. @see Trace Context Level 2 §3.3.1.3 */
const MEMBER = /^[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/

/**
 * Returns a new trace that this gateway starts.
 *
 * @param random at least 24 random octets
 * @param sample decides by the trace id whether the trace is sampled; by default it is
 */
export function startTrace(random: Uint8Array, sample: (traceId: string) => boolean = () => true): TraceContext {
  const traceId = hexId(random, 0, 16)
  return {
    traceId,
    spanId: hexId(random, 16, 24),
    parentSpanId: undefined,
    flags: sample(traceId) ? SAMPLED | RANDOM : RANDOM,
    tracestate: undefined,
  }
}

/**
 * Returns the caller's trace continued under the span of `own`, or `own` itself when the caller's fields name none.
 *
 * @param traceparent value of the field, several lines joined; null when absent
 * @param tracestate likewise; read only beside a valid traceparent
 */
export function continueTrace(own: TraceContext, traceparent: string | null, tracestate: string | null): TraceContext {
  const parent = traceparent === null ? undefined : parseTraceparent(traceparent)
  if (parent === undefined) return own
  return {
    traceId: parent.traceId,
    spanId: own.spanId,
    parentSpanId: parent.spanId,
    flags: parent.flags & (SAMPLED | RANDOM),
    tracestate: tracestate === null ? undefined : parseTracestate(tracestate),
  }
}

/** Returns whether somebody records the trace: the caller where it is continued, else this gateway decides. */
export function isTraceSampled({ flags }: TraceContext): boolean {
  return (flags & SAMPLED) !== 0
}

/** Returns the traceparent field of a trace: always version 00. */
export function formatTraceparent(trace: TraceContext): string {
  return `00-${trace.traceId}-${trace.spanId}-${trace.flags.toString(16).padStart(2, "0")}`
}

/** Returns the parts of a traceparent, or undefined. Higher versions are read by the rules of 00 and may be longer. */
function parseTraceparent(
  value: string,
): { readonly traceId: string; readonly spanId: string; readonly flags: number } | undefined {
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(value)
  const [, version = "ff", traceId = "", spanId = "", flags = "", rest] = match ?? []
  if (version === "ff" || (version === "00" && rest !== undefined)) return undefined
  if (ALL_ZERO.test(traceId) || ALL_ZERO.test(spanId)) return undefined
  return { traceId, spanId, flags: Number.parseInt(flags, 16) }
}

/** Returns the members of a tracestate in their order, or undefined when one is malformed or there are too many. */
function parseTracestate(value: string): string | undefined {
  if (value.length > TRACESTATE_LENGTH_MAX) return undefined
  const members = value
    .split(",")
    .map((member) => member.replace(/^[\t ]+|[\t ]+$/g, ""))
    .filter((member) => member !== "")
  if (members.length === 0 || members.length > TRACESTATE_MEMBERS_MAX) return undefined
  return members.every((member) => MEMBER.test(member)) ? members.join(",") : undefined
}

/** Octets as hex. All zero is no id; the chance is 2^-64, the mend is one bit. */
function hexId(octets: Uint8Array, begin: number, end: number): string {
  const hex = formatHex(octets, begin, end)
  return ALL_ZERO.test(hex) ? `${hex.slice(0, -1)}1` : hex
}
