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
/** Longest wait for the limit per address, in ms. It counts near the Worker in about one; a request does not wait for more. */
export const IP_LIMIT_TIMEOUT_MS = 250
/** Period of the limit per address, in seconds: `simple.period` of the binding, which the Worker cannot read. */
export const IP_LIMIT_PERIOD_SECONDS = 10
/** Longest wait for the client's object, in ms, before the request is refused. */
export const CLIENT_GATE_TIMEOUT_MS = 5_000
/** Retry-After of a refusal that has no better answer, in seconds. */
export const RETRY_AFTER_SECONDS_DEFAULT = 1
/** Default and longest wait for the origin's response header, in ms. */
export const ORIGIN_TIMEOUT_MS_DEFAULT = 10_000
export const ORIGIN_TIMEOUT_MS_MAX = 100_000
/** Longest time to the end of an origin's answer that can be configured, in ms. */
export const ORIGIN_TOTAL_TIMEOUT_MS_MAX = 3_600_000
/** URLs of one origin: every choice among them looks at each. */
export const ORIGIN_URLS_MAX = 16
/** Largest weight of a URL. All of them together stay far below what a choice can tell apart. */
export const ORIGIN_WEIGHT_MAX = 1_000
/** Times one request may be sent again to an origin, by default and at most: each multiplies what an outage costs. */
export const ORIGIN_RETRIES_DEFAULT = 1
export const ORIGIN_RETRIES_MAX = 3
/** Requests of an origin and isolate that earn one retry. An origin that fails gets at most a tenth more than without retries. */
export const RETRY_REQUESTS_PER_RETRY = 10
/** Retries per second beside those, so that an origin with few requests has them too. */
export const RETRIES_PER_SECOND = 1
/** Most retries that are saved up, and what an isolate begins with. */
export const RETRIES_SAVED_MAX = 10
/** Longest window and block of a breaker, in ms. */
export const BREAKER_MS_MAX = 600_000
/** Events one queue message carries at most; a message may hold 128 KB. */
export const EVENTS_PER_MESSAGE_MAX = 100
/** Most octets of events in one queue message, below the platform's 128 KB with room for framing. */
export const EVENT_MESSAGE_BYTES_MAX = 96_000
/** Events one isolate holds while the queue does not take them; beyond it the oldest are dropped and counted. */
export const EVENT_BACKLOG_MAX = 2_000
/** Spans one isolate holds likewise, and those of one request: a request has about three. */
export const SPAN_BACKLOG_MAX = 2_000
export const SPANS_PER_REQUEST_MAX = 32
/** Longest time an event waits in an isolate, in ms. */
export const EVENT_FLUSH_MS_MAX = 5_000
export const EVENT_FLUSH_MS_DEFAULT = 1_000
/** Longest string in an event, in characters; longer ones are cut and marked. */
export const EVENT_VALUE_LENGTH_MAX = 1_024
/** Wait for a sink in ms, and the octets of its answer that are read before it is cancelled. */
export const SINK_TIMEOUT_MS = 10_000
export const SINK_RESPONSE_BYTES_MAX = 65_536
/** Smallest body for a sink that is compressed, in octets: below it there is nothing to gain. */
export const SINK_GZIP_BYTES_MIN = 1_024
/** Posts for one message and sink at most. One bad record among a hundred is found with fifteen. */
export const SINK_POSTS_MAX = 32
/** Longest delay before a batch is offered to a sink again, in seconds, whatever its Retry-After says. */
export const SINK_RETRY_SECONDS_MAX = 600
/** Size of one Worker variable on the platform in octets, and the share of it that `sekisho check` warns at. */
export const VARIABLE_BYTES_MAX = 5_120
export const VARIABLE_WARN_RATIO = 0.8
/** Longest step back of a clock that counts as no time passing, in ms; a longer one re-anchors what is stored. */
export const CLOCK_REGRESSION_MS_MAX = 60_000
/** Most failures a guard may tolerate: bounds the timestamps, and with reserved admissions the ids, that one client stores. */
export const GUARD_FAILURES_MAX = 1_000
/** Longest time a guard is configured with or an administrator blocks for, in ms: a year. Keeps every sum an exact integer. */
export const GUARD_DURATION_MS_MAX = 31_536_000_000
/** Outcomes one guard remembers against duplicates: at least as many as failures, so a run of failures is remembered whole. */
export const GUARD_OUTCOMES_MAX = 1_000
/** Longest id of an admission in characters: bounds what is stored of it. A UUID has 36. */
export const GUARD_ID_LENGTH_MAX = 64
/** How long an admission waits for its outcome unless configured otherwise, in ms. Above most origin timeouts. */
export const GUARD_PENDING_TTL_MS_DEFAULT = 30_000
/** Status codes one guard may list as failures; there are 300 from 200 to 499. */
export const FAILURE_STATUSES_MAX = 50
/** Guards one route may name: each is asked with every request, and one with another key is asked in an object of its own. */
export const ROUTE_GUARDS_MAX = 4
/** Longest name of a field that a guard counts by, in characters. Names in use have about 20. */
export const GUARD_KEY_FIELD_LENGTH_MAX = 64
/** Most requests of one client in flight under one limit: their leases are read and written with every request. */
export const CONCURRENCY_MAX = 1_000
/** How much longer than the longest wait for an origin a lease lasts unless configured otherwise, in ms: time for the body. */
export const CONCURRENCY_LEASE_GRACE_MS = 30_000
/** Longest lease of a request that can be configured, in ms: how long a slot is lost when an isolate dies. */
export const CONCURRENCY_LEASE_MS_MAX = 3_600_000
/** Sets of limits one route may name: every one of them is read and written with every request. */
export const LIMIT_SETS_MAX = 8
/** Longest id of a lease, in characters: any request id fits, and all leases of a client fit one row. */
export const LEASE_ID_LENGTH_MAX = 64
/** Time zones one isolate keeps a formatter for. Making one takes about a millisecond. */
export const TIMEZONE_CACHE_ENTRIES_MAX = 100
/** Addresses of callers of which an isolate remembers how they are written. */
export const ADDRESSES_REMEMBERED_MAX = 1_000
/** Field names of which an isolate remembers whether a caller's may be called so, and the longest of them, characters. */
export const FIELD_NAMES_REMEMBERED_MAX = 1_000
export const FIELD_NAME_REMEMBERED_LENGTH_MAX = 64
/** How long an isolate may spend leased tokens, in ms from sending the call. Longer saves hardly any calls, only delays a block. */
export const TOKEN_LEASE_TTL_MS = 1_000
/** The same while the client's guard counts failures. */
export const TOKEN_LEASE_TTL_GUARDED_MS = 250
/** Longest life of a lease in ms, for isolates so far from the object that a shorter one would be over on arrival. */
export const TOKEN_LEASE_TTL_MS_MAX = 5_000
/** How much longer the object counts a lease than its isolate, in ms: more than clock drift over a lease plus a frozen clock. */
export const TOKEN_LEASE_MARGIN_MS = 100
/** Most tokens of one lease where no limit bounds it: a client that only its guard can stop. */
export const TOKEN_LEASE_TOKENS_MAX = 1_000_000
/** Holders of leases that one client's object remembers. Each costs about 300 octets in the row that every grant writes. */
export const TOKEN_LEASE_HOLDERS_MAX = 128
/** Grid of the expiry of leases beyond that many holders, in ms: bounds how many of them are told apart. */
export const TOKEN_LEASE_SLICE_MS = 128
/** Longest boot id of an isolate, in characters. A UUID has 36. */
export const TOKEN_LEASE_BOOT_LENGTH_MAX = 64
/** Requests of one client that wait in one isolate for its object; one more is refused. Their costs travel with the call. */
export const TOKEN_LEASE_WAITERS_MAX = 1_000
/** Calls in a row without an answer in time before the waiting requests are refused. */
export const TOKEN_LEASE_ATTEMPTS_MAX = 2
/** Longest an isolate remembers that the client is blocked, in ms: how late it can learn of an administrator's unblock. */
export const TOKEN_LEASE_BLOCK_CACHE_MS_MAX = 5_000
/** Answers that a waiting request may be counted in without being served before it is refused: bounds its wait to two trips. */
export const TOKEN_LEASE_ANSWERS_MAX = 2
/**
 * How long an isolate that drew on a quota is remembered after its last call, in ms: what it hands back later is used up for
 * good. Longer than a call that is given up, shorter than what would fill the rows of busy clients with isolates long gone.
 */
export const TOKEN_LEASE_RETURN_MS = 10_000
/** Longest an isolate refuses from memory for a used-up quota, in ms: tokens may be handed back, or the limit be raised. */
export const TOKEN_LEASE_QUOTA_CACHE_MS_MAX = 5_000
/** Least limit of a quota worth lending. Of a smaller one, what isolates that end take with them is a notable share. */
export const TOKEN_LEASE_QUOTA_MIN = 100
/** Least time, in ms, in which a limit worth lending refills. Requests that gather during one trip would empty a smaller one. */
export const TOKEN_LEASE_FILL_MS_MIN = 500
/** How long an isolate refuses requests of a client by itself after the client's object was overloaded, in ms. */
export const OVERLOAD_DENY_MS = 1_000
/** Sets of limits of clients that one isolate keeps leases for; beyond it the oldest is dropped, and its tokens burn. */
export const LEASE_HOLDERS_PER_ISOLATE_MAX = 10_000
/** Problem codes that one report of refusals may name; the gateway has fewer. */
export const STOPPED_REASONS_MAX = 100
/** Days whose refusals one client's object keeps apart. */
export const STOPPED_DAYS_MAX = 90
/** How long an object remembers the last report of an isolate, in ms: longer than one is repeated. */
export const STOPPED_REPORTER_MEMORY_MS = 600_000
/** Longest an isolate repeats a report that was not heard, in ms. What is older is given up: it may have been counted. */
export const STOPPED_REPEAT_MS_MAX = 300_000
/** Clients whose refusals one isolate counts at a time; beyond it the event alone tells of a refusal. */
export const STOPPED_CLIENTS_MAX = 10_000
/** Records that one outbox of an object keeps while the queue does not take them; beyond it the oldest are dropped, and said so. */
export const OUTBOX_RECORDS_MAX = 100
/** After how long without a request the object of a guard's other key forgets it, in ms, if nothing is left to remember. */
export const GUARD_KEY_IDLE_MS = 3_600_000
/** How long a record waits before it is offered to the queue again, in ms. */
export const RECORD_RETRY_MS = 5_000
/** Isolates whose last report one object remembers. */
export const STOPPED_REPORTERS_MAX = 1_000
/** Longest wait for one call for tokens, in ms: two of them fit the longest wait of a request. */
export const LEASE_CALL_TIMEOUT_MS = 2_500
/** Least burst of a limit worth lending, in tokens: half of it is what all isolates together may hold ahead of need. */
export const TOKEN_LEASE_BURST_MIN = 10
/** Longest SPIFFE id in octets. @see SPIFFE-ID §2.3 */
export const SPIFFE_ID_BYTES_MAX = 2_048
/** Longest wait for the client directory, in ms, before the request is refused. */
export const CLIENT_DIRECTORY_TIMEOUT_MS = 2_000
/** How long before a certificate or an overlap window ends the record warns, unless configured otherwise, in ms; and the most. */
export const CERTIFICATE_WARNING_MS_DEFAULT = 2_592_000_000
export const CERTIFICATE_WARNING_MS_MAX = 31_536_000_000
/** From when on such a warning is an error, in ms before the end. */
export const CERTIFICATE_URGENT_MS = 604_800_000
/** Certificates that one client's object remembers; a client that rotates has two. */
export const CERTIFICATES_REMEMBERED_MAX = 16
/** Ends of overlap windows that one client's object remembers having warned of. */
export const RULE_ENDS_REMEMBERED_MAX = 64
/** How long after its end a certificate is still warned of, in ms, and after which idle time beside a newer one no more. */
export const CERTIFICATE_MEMORY_MS = 2_592_000_000
export const CERTIFICATE_SUPERSEDED_MS = 604_800_000
/** Certificates whose last report to their client's object one isolate remembers. */
export const CERTIFICATE_NOTES_MAX = 10_000
/** How long after a report that was not heard the next one is sent, in ms. */
export const CERTIFICATE_NOTE_RETRY_MS = 60_000
/** Runs over which the review of all clients is spread: one an hour, a day for everybody. */
export const CLIENT_ROUND_SLOTS = 24
/** Objects that one run of the review asks at a time. */
export const CLIENT_ROUND_BATCH = 50
/** Life of an assertion to an origin, in seconds: time for the request to arrive, too short to be worth stealing. */
export const GATEWAY_ASSERTION_SECONDS = 30
/** Keys of assertions at a time: the one that signs, the one before and the next, and one to spare. */
export const ASSERTION_KEYS_MAX = 4
/** Longest value of a secret that is read as a key, in characters. A key has about 250. */
export const ASSERTION_KEY_SECRET_LENGTH_MAX = 4_096
/** How long a verifier may keep the published keys, in seconds: how long a new key waits before it may sign. */
export const JWKS_MAX_AGE_SECONDS = 300
/** Largest revocation list that is read, in octets, as PEM or DER: above 100,000 entries of 49 octets. */
export const CRL_BYTES_MAX = 8_388_608
/** Most entries of one revocation list: bounds what an object holds in memory while it replaces a list. */
export const CRL_ENTRIES_MAX = 200_000
/** Longest serial number in octets (RFC 5280 §4.1.2.2), with its sign octet. */
export const SERIAL_BYTES_MAX = 21
/** How far the start of a revocation list may lie ahead, in ms: more than the clocks of two services differ. */
export const CRL_CLOCK_TOLERANCE_MS = 60_000
/** Longest wait for a revocation list in ms, its last octet included. */
export const CRL_FETCH_TIMEOUT_MS = 10_000
/** How often a revocation list is fetched again unless configured otherwise, and the bounds of that, in ms. */
export const CRL_REFRESH_MS_DEFAULT = 3_600_000
export const CRL_REFRESH_MS_MIN = 1_000
export const CRL_REFRESH_MS_MAX = 604_800_000
/** Wait after the first failed fetch of a revocation list, in ms; each further one doubles it up to the second. */
export const CRL_RETRY_MS_MIN = 30_000
export const CRL_RETRY_MS_MAX = 900_000
/** How long an isolate believes what it was told about a serial, in ms: how late a busy client is stopped. */
export const REVOCATION_VERDICT_MS = 1_000
/** Longest wait for a verdict on a serial, in ms. */
export const REVOCATION_TIMEOUT_MS = 2_000
/** Serials whose verdict one isolate remembers. One costs about 200 octets. */
export const REVOCATION_VERDICTS_MAX = 10_000
/** Longest access token in characters. Tokens in use have about 1,000; a longer one is refused before it is decoded. */
export const TOKEN_LENGTH_MAX = 8_192
/** Longest id of a key in characters, in a token and in a key set. Thumbprints have 43. */
export const TOKEN_KEY_ID_LENGTH_MAX = 256
/** How much of a text in a token a reason in an event holds, in characters. */
export const TOKEN_LOGGED_LENGTH_MAX = 64
/** Most keys in one key set. Servers in use have two to five. */
export const TOKEN_KEYS_MAX = 64
/** Keys that one token is tried with when several in the set have its key id: each costs a signature check. */
export const TOKEN_KEYS_PER_ID_MAX = 3
/** Largest key set in octets; what is longer is not read to its end. */
export const TOKEN_KEYS_BYTES_MAX = 262_144
/** Longest wait for a key set in ms, for the call and for every request that waits for it. */
export const TOKEN_KEYS_TIMEOUT_MS = 5_000
/** How long keys serve before they are fetched again, in ms: how late a key that was withdrawn stops verifying. */
export const TOKEN_KEYS_FRESH_MS = 300_000
/** Least time between two fetches of a key set because of unknown keys, in ms, and longest pause after failures. */
export const TOKEN_KEYS_COOLDOWN_MS = 30_000
/** Pause after the first failure to fetch a key set, in ms; it doubles with each further one. */
export const TOKEN_KEYS_PAUSE_MS_MIN = 1_000
/** How much longer keys serve while the set cannot be fetched, in ms: an outage that somebody notices, and at most a week. */
export const TOKEN_KEYS_STALE_MS_DEFAULT = 3_600_000
export const TOKEN_KEYS_STALE_MS_MAX = 604_800_000
/** How far the clock of an authorization server may differ, in ms. */
export const TOKEN_CLOCK_TOLERANCE_MS_DEFAULT = 5_000
export const TOKEN_CLOCK_TOLERANCE_MS_MAX = 60_000
/** Longest life of a token unless configured otherwise, in ms, and the longest that can be configured: a year. */
export const TOKEN_LIFETIME_MS_DEFAULT = 86_400_000
export const TOKEN_LIFETIME_MS_MAX = 31_536_000_000
/** Verified tokens that one isolate remembers. One costs about 1 KB. */
export const TOKEN_CACHE_ENTRIES_MAX = 2_000
/** Size of the RSA keys that tokens are verified with, in bits: FAPI asks for 2,048; larger ones cost time. */
export const RSA_BITS_MIN = 2_048
export const RSA_BITS_MAX = 8_192
/** Scopes that a route asks for with one method at most. */
export const ROUTE_SCOPES_MAX = 32
/** OAuth clients that one client may be at authorization servers. */
export const OAUTH_CLIENTS_MAX = 32
/** Longest time a WebSocket may be without a message, in ms: default and most. */
export const WEBSOCKET_IDLE_MS_DEFAULT = 60_000
export const WEBSOCKET_IDLE_MS_MAX = 3_600_000
/** Largest WebSocket message in octets: default, and what the platform receives at most. */
export const WEBSOCKET_MESSAGE_BYTES_DEFAULT = 1_048_576
export const WEBSOCKET_MESSAGE_BYTES_MAX = 33_554_432
/** How often it is asked whether a client may still have its WebSocket, in ms: default and most. How late a revocation is. */
export const WEBSOCKET_RECHECK_MS_DEFAULT = 30_000
export const WEBSOCKET_RECHECK_MS_MAX = 60_000
/** Longest reason of a close frame, in octets. @see RFC 6455 §5.5 */
export const WEBSOCKET_CLOSE_REASON_BYTES_MAX = 123
/** Longest wait for the other side's close frame, in ms, before a socket counts as closed. */
export const WEBSOCKET_CLOSE_TIMEOUT_MS = 5_000
/** Largest request body unless a route says otherwise, in octets: far above a JSON document, far below what hurts an origin. */
export const REQUEST_BYTES_DEFAULT = 1_048_576
/** Largest limit of a body that can be configured, in octets. */
export const BODY_LIMIT_BYTES_MAX = 1_073_741_824
/** Longest value of a field that a route sets, in characters, and the fields that one route may set or remove in one direction. */
export const FIELD_VALUE_LENGTH_MAX = 1_024
export const FIELD_RULES_MAX = 32
/** How long a browser may remember a preflight unless configured otherwise, and at most, in seconds. */
export const CORS_MAX_AGE_SECONDS_DEFAULT = 600
export const CORS_MAX_AGE_SECONDS_MAX = 86_400
/** Most series of requests, by route, method and status class; other families have fewer. A series is about 60 octets of a row. */
export const METRIC_SERIES_MAX = 4_000
/** Clients whose certificates are shown in metrics: those whose certificates end first. */
export const METRIC_CLIENTS_MAX = 1_000
/** Longest value of a label, in characters; the rest is cut. */
export const METRIC_LABEL_LENGTH_MAX = 128
/** Longest time between two reports of an isolate that has something to report, in ms: below the usual time between two scrapes. */
export const METRIC_REPORT_MS_MAX = 10_000
/** Reports are this many flushes of events apart, so that a gateway which tells its events sooner also counts sooner. */
export const METRIC_REPORT_FLUSHES = 10
/** How long the number of an isolate's last report is remembered, in ms, and how long a report is repeated at most: less. */
export const METRIC_REPORTER_MEMORY_MS = 600_000
export const METRIC_REPEAT_MS_MAX = 300_000
/** Isolates whose last reports are remembered. */
export const METRIC_REPORTERS_MAX = 1_000
/** How long what an isolate said of the moment counts, in ms. One with an open WebSocket says it again within half of that. */
export const METRIC_GAUGE_MS = 60_000
/** How long a certificate that is not used any more is shown, in ms: those of a client that rotates end in any order. */
export const METRIC_CERTIFICATE_SEEN_MS = 86_400_000
/** How long a series has to rest before it makes room for another one of a full family, in ms. */
export const METRIC_SERIES_MEMORY_MS = 604_800_000
/** Longest wait for the object of the metrics, in ms. */
export const METRIC_TIMEOUT_MS = 5_000
/** Fewest octets of the secret that an administrator shows: nobody guesses those. */
export const ADMIN_TOKEN_BYTES_MIN = 32
/** Records of one trail that wait for its sinks, and the characters of their lines, nearly all of which are an octet: beyond either nothing new begins. About a gateway's busy minute. */
export const AUDIT_WAITING_MAX = 10_000
export const AUDIT_WAITING_BYTES_MAX = 4_194_304
/** How many times that what has begun already may fill, such as outcomes of requests that an origin has seen. */
export const AUDIT_HEADROOM = 2
/** Ids that one trail remembers against repetition: everything that may wait, so that nothing that waits is taken twice. */
export const AUDIT_IDS_MAX = 20_000
/** Longest id of a record in characters: a digest, a name and an instant. */
export const AUDIT_ID_LENGTH_MAX = 256
/** Records of one call of the trail's object. */
export const AUDIT_APPEND_MAX = 100
/** Records of one request to a sink, and their octets: what a collector takes without being told. */
export const AUDIT_BATCH_MAX = 100
export const AUDIT_BATCH_BYTES_MAX = 262_144
/** Requests to one sink in one alarm; the next alarm follows at once. Keeps an alarm far below the 15 minutes of the platform. */
export const AUDIT_BATCHES_PER_ALARM = 20
/** How long a record may wait for its sinks, in ms, before somebody is told: a few of the longest pauses. */
export const AUDIT_LATE_MS = 300_000
/** How long a record waits for others before it is delivered, in ms. */
export const AUDIT_DELIVERY_MS = 1_000
/** First and longest pause of a sink that does not take records, in ms: how late it learns of everything once it is back. */
export const AUDIT_RETRY_MS_MIN = 1_000
export const AUDIT_RETRY_MS_MAX = 60_000
/** Longest wait for the trail's object, in ms, before the request is refused. It writes near the client's object in some ten. */
export const AUDIT_TIMEOUT_MS = 2_000
/** Refusals that one isolate keeps for the trails; beyond it they are counted and the count is on the trail. */
export const AUDIT_BACKLOG_MAX = 2_000
/** Tries of one flush behind a response: with pauses of 1, 2 and 4 s and a deadline each they end before the platform's 30 s. */
export const AUDIT_FLUSH_TRIES = 4
/** Longest idempotency key in characters. UUIDs have 36, UK Open Banking allows 40. */
export const IDEMPOTENCY_KEY_LENGTH_MAX = 255
/** Largest body of a request with an idempotency key in octets: it is held in memory until its digest is known. */
export const IDEMPOTENCY_REQUEST_BYTES_MAX = 1_048_576
/** Longest wait for such a body, in ms. */
export const IDEMPOTENCY_REQUEST_TIMEOUT_MS = 30_000
/** Largest body of an answer that is kept for repeats, in octets: encrypted and encoded far below the 2 MB of a stored value. */
export const IDEMPOTENCY_ANSWER_BYTES_MAX = 262_144
/** Longest wait for the body of such an answer, in ms; what takes longer streams on and is not kept. */
export const IDEMPOTENCY_ANSWER_TIMEOUT_MS = 30_000
/** Longest wait for the ledger, in ms, before the request is refused. */
export const IDEMPOTENCY_LEDGER_TIMEOUT_MS = 5_000
/** How much longer an attempt counts as in progress than its origin may take, in ms: calls of the ledger, and drift of clocks. */
export const IDEMPOTENCY_ATTEMPT_MARGIN_MS = 15_000
/** Retry-After of a request whose first one is in progress, in ms at most. */
export const IDEMPOTENCY_RETRY_MS = 1_000
/** How long the outcome of a key is remembered unless configured otherwise, and the bounds of that, in ms. */
export const IDEMPOTENCY_TTL_MS_DEFAULT = 86_400_000
export const IDEMPOTENCY_TTL_MS_MIN = 600_000
export const IDEMPOTENCY_TTL_MS_MAX = 2_592_000_000
/** Octets that one ledger stores before it takes no new keys: a client has 16 of them, the platform allows 10 GB each. */
export const IDEMPOTENCY_LEDGER_BYTES_MAX = 1_073_741_824
/** Expired records that a ledger deletes in one turn: bounds how long others wait. */
export const IDEMPOTENCY_EXPIRY_BATCH = 500
/** How long an alarm of a ledger waits at least, in ms: expiry is nothing that anybody waits for. */
export const IDEMPOTENCY_ALARM_MS_MIN = 60_000
/** Keys that protect idempotency records at a time: the one in use, those before whose records live, and the next. */
export const RECORD_KEYS_MAX = 4
