/**
 * Http11Probe, a public suite of requests for HTTP/1.1 servers: where it is, what it asks for, how a status is judged.
 */
import { readDataSet } from "../conformance.ts"
import { octets } from "./raw-http.ts"

interface Verdict {
  readonly status?: Readonly<Record<string, string>>
  readonly status_conn_open?: Readonly<Record<string, string>>
  readonly status_conn_closed?: Readonly<Record<string, string>>
  readonly no_response_closed?: string
  readonly no_response_timeout?: string
}

/** One request of the suite. */
export interface Vector {
  readonly id: string
  /** Null where fields or content decide instead of the status. */
  readonly verdict: Verdict | null
  readonly payload_latin1?: string
  readonly payload_b64?: string
  readonly baseline: { readonly node24: readonly [string | null, number | null, string] }
}

/** Returns the suite, or undefined when it is not there. */
export function readVectors(): readonly Vector[] | undefined {
  return (readDataSet("http1/http11probe-vectors.json") as { readonly vectors: readonly Vector[] } | undefined)?.vectors
}

/** Returns the octets to send. */
export function payloadOf({ payload_b64, payload_latin1 = "" }: Vector): Buffer {
  return payload_b64 === undefined ? octets(payload_latin1) : Buffer.from(payload_b64, "base64")
}

/** Returns "Pass", "Warn" or "Fail". @param status undefined when no final answer came */
export function judge(verdict: Verdict, status: number | undefined, isClosed: boolean): string {
  if (status === undefined) return (isClosed ? verdict.no_response_closed : verdict.no_response_timeout) ?? "Fail"
  const table = verdict.status ?? (isClosed ? verdict.status_conn_closed : verdict.status_conn_open) ?? {}
  const found = Object.entries(table).find(([, ranges]) =>
    ranges.split(",").some((range) => {
      const [low = Number.NaN, high = low] = range.split("-").map(Number)
      return status >= low && status <= high
    }),
  )
  return found?.[0] ?? "Fail"
}
