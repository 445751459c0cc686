/**
 * Which requests are on the record, and which traces are exported.
 *
 * Both go by the random part of a trace id that the gateway has minted, so that of one request there are a log record and spans or
 * neither, and nobody outside can choose an id that is left out. What was refused, what failed and what is a warning is always
 * on the record. Pure.
 */
import type { AccessEvent } from "./event.ts"

/** What of a route's requests is on the record. */
export interface RouteLog {
  /** Share of the requests that went well, 0 to 1. */
  readonly sampleRatio: number
  /** Level of their events. */
  readonly level: "info" | "debug"
}

/** Every request, at the usual level. */
export const LOG_ALL: RouteLog = { sampleRatio: 1, level: "info" }

/**
 * Returns the place of a trace among all, from 0 (kept last) to below 1 (kept first): of the 56 bits of a trace id that are random
 * the upper 52, which a number holds exactly.
 *
 * @param traceId 32 lower-case hex digits
 * @see W3C Trace Context Level 2 §2.3.1.3 (random trace id), OpenTelemetry "Consistent probability sampling"
 */
export function placeOfTrace(traceId: string): number {
  return Number.parseInt(traceId.slice(18, 31), 16) / 2 ** 52
}

/** Returns whether a trace at `place` is among the share `ratio`. A larger share contains every smaller one. */
export function isSampled(place: number, ratio: number): boolean {
  return place >= 1 - ratio
}

/**
 * Returns the level at which a request is on the record, or undefined when it is left out.
 *
 * @param level what became of the request
 * @param log of its route; undefined before it has one
 * @param place of the trace that was minted for it
 */
export function levelOnRecord(
  level: AccessEvent["level"],
  log: RouteLog | undefined,
  place: number,
): AccessEvent["level"] | undefined {
  if (level === "warn" || level === "error" || log === undefined) return level
  return isSampled(place, log.sampleRatio) ? log.level : undefined
}
