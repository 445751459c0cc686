/**
 * The bindings of the Worker, as wrangler.toml declares them. Configuration variables are not listed: they are untrusted
 * until `src/config/load.ts` has read them.
 */
declare namespace Cloudflare {
  interface GlobalProps {
    mainModule: typeof import("./src/index.ts")
  }
  interface Env {
    /** One object per client: limits, and later guard and leases. */
    readonly CLIENT_GATE: DurableObjectNamespace<import("./durable-objects/client-gate.ts").ClientGate>
    /** One object per CA whose revocation list is fetched. */
    readonly REVOCATION_LIST: DurableObjectNamespace<import("./durable-objects/revocation-list.ts").RevocationList>
    /** One object: the metrics of the gateway. Absent means nobody counts. */
    readonly METRICS?: DurableObjectNamespace<import("./durable-objects/metrics.ts").Metrics>
    /** One object per client, and one for what concerns none: audit trails. Absent means no trail takes anything. */
    readonly AUDIT_TRAIL?: DurableObjectNamespace<import("./durable-objects/audit-trail.ts").AuditTrailObject>
    /** One object per client and shard of its idempotency keys. */
    readonly IDEMPOTENCY_LEDGER: DurableObjectNamespace<
      import("./durable-objects/idempotency-ledger.ts").IdempotencyLedger
    >
    /** Counts requests per address. Absent means nobody counts them. */
    readonly IP_LIMIT?: RateLimit
    /** Events on their way to the sinks. Absent means the events go to the console only. */
    readonly EVENTS?: Queue<import("./src/observe/event-message.ts").EventMessage | string>
    /** "cloudflare" when request.cf is the platform's word; anything else means it is not. */
    readonly PLATFORM?: string
    /** Shared with the local edge, 64 hex digits; present only when the Worker stands behind it. */
    readonly EDGE_KEY?: string
  }
}
interface Env extends Cloudflare.Env {}
