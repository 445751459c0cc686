/**
 * What the gateway changes in a message that it hands on, and all that it changes: `differential.test.ts` compares everything
 * else, and README has to name each of these fields. Names in lower case.
 */
export const CHANGED = {
  request: {
    /** The gateway's own, whatever the caller sent under the name. */
    set: [
      "client-cert",
      "forwarded",
      "host",
      "traceparent",
      "tracestate",
      "via",
      "x-client-id",
      "x-forwarded-for",
      "x-forwarded-host",
      "x-forwarded-proto",
      "x-real-ip",
      "x-request-id",
    ],
    /** What the platform's fetch() adds. */
    platform: ["cf-worker"],
    /** They end at a connection, or frame a message. */
    connection: ["connection", "expect", "keep-alive", "te", "trailer", "transfer-encoding"],
  },
  answer: {
    set: ["ratelimit", "ratelimit-policy", "x-request-id"],
    /** Added where the origin has none. */
    added: ["date"],
    connection: ["connection", "keep-alive", "trailer", "transfer-encoding"],
  },
} as const
