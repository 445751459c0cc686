/**
 * Every bound of the gateway in one place: name, unit, reason. Configuration may choose a smaller value where a stage
 * says so, never a larger one. The relations between bounds are asserted by `test/core/bounds.test.ts`.
 */

/** Longest request target in octets. RFC 9112 §3 asks for at least 8,000; more only serves attackers. */
export const TARGET_BYTES_MAX = 8_192
/** Longest path on which a regular expression is tried, in characters: bounds its backtracking. */
export const REGEX_PATH_LENGTH_MAX = 2_048
/** Most header fields of one request. A browser sends about 20, a partner's client about 10. */
export const HEADER_COUNT_MAX = 100
/** Largest header section of one request in octets, names and values together. */
export const HEADER_BYTES_MAX = 32_768
/** Largest leaf certificate in octets of DER. Cloudflare leaves `certRFC9440` empty above 10 KiB. */
export const LEAF_BYTES_MAX = 10_240
/** Deepest nesting the DER reader follows. A certificate needs about 8 levels. */
export const DER_DEPTH_MAX = 16
/** Leaf certificates whose facts one isolate remembers. One costs about 2 KB. */
export const CERTIFICATE_CACHE_ENTRIES_MAX = 2_000
/** How long an edge assertion may be valid, in ms. Long enough for a stalled isolate, short enough to be worthless. */
export const EDGE_ASSERTION_AGE_MS_MAX = 30_000
/** Assertion ids one isolate remembers against replay. More than this within one age means refusing, not forgetting. */
export const EDGE_ASSERTION_SEEN_MAX = 100_000
/** Longest wait for the client's object, in ms, before the request is refused. */
export const CLIENT_GATE_TIMEOUT_MS = 5_000
/** Retry-After of a refusal that has no better answer, in seconds. */
export const RETRY_AFTER_SECONDS_DEFAULT = 1
/** Default and longest wait for the origin's response header, in ms. */
export const ORIGIN_TIMEOUT_MS_DEFAULT = 10_000
export const ORIGIN_TIMEOUT_MS_MAX = 100_000
/** Events one queue message carries at most; a message may hold 128 KB. */
export const EVENTS_PER_MESSAGE_MAX = 100
/** Most octets of events in one queue message, below the platform's 128 KB with room for framing. */
export const EVENT_MESSAGE_BYTES_MAX = 96_000
/** Events one isolate holds while the queue does not take them; beyond it the oldest are dropped and counted. */
export const EVENT_BACKLOG_MAX = 2_000
/** Longest time an event waits in an isolate, in ms. */
export const EVENT_FLUSH_MS_MAX = 5_000
export const EVENT_FLUSH_MS_DEFAULT = 1_000
/** Longest string in an event, in characters; longer ones are cut and marked. */
export const EVENT_VALUE_LENGTH_MAX = 1_024
/** Wait for a sink in ms, and the octets of its answer that are read before it is cancelled. */
export const SINK_TIMEOUT_MS = 10_000
export const SINK_RESPONSE_BYTES_MAX = 65_536
/** Longest delay before a batch is offered to a sink again, in seconds, whatever its Retry-After says. */
export const SINK_RETRY_SECONDS_MAX = 600
/** Size of one Worker variable on the platform in octets, and the share of it that `sekisho check` warns at. */
export const VARIABLE_BYTES_MAX = 5_120
export const VARIABLE_WARN_RATIO = 0.8
/** Longest step back of a clock that counts as no time passing, in ms; a longer one re-anchors what is stored. */
export const CLOCK_REGRESSION_MS_MAX = 60_000
