/**
 * The configuration as the gateway uses it: complete, resolved, frozen. Built only by `config/load.ts`.
 */
import type { CorsPolicy } from "../core/message/cors.ts"
import type { FieldRules } from "../core/message/field-rules.ts"
import type { RouteGuard } from "../core/gate/gate-plan.ts"
import type { Client, ClientIndex } from "../core/certificate/identity.ts"
import type { ClientLimits, LimitSet } from "../core/limit/limit-set.ts"
import type { OriginBreaker } from "../core/origin/origin-breaker.ts"
import type { Choosable, RetryTerms } from "../core/origin/origin-choice.ts"
import type { RevocationSource } from "../core/certificate/revocation.ts"
import type { Rewrite } from "../core/route/rewrite.ts"
import type { ScopesByMethod } from "../core/token/scope.ts"
import type { TokenTerms } from "../core/token/access-token.ts"
import type { HostRoute, HostTable } from "../core/route/virtual-host.ts"
import type { WebSocketTerms } from "../core/message/websocket.ts"
import type { RouteLog } from "../core/record/sampling.ts"
import type { BaseUrl } from "./schema-names.ts"
import type { TAKES } from "./schema-records.ts"

/** A client, and how its limits differ from those of the others. `place` is where it stands, such as `CLIENTS[2]`. */
export interface ConfiguredClient extends Client, ClientLimits {
  readonly place: string
  /** Ids of this client at authorization servers; no other client has one of them. */
  readonly oauthClients: ReadonlySet<string>
}

/** A named guard: when it opens, whom it counts for, and which answers are failures. */
export type Guard = RouteGuard

/** A CA of clients, and how its certificates are revoked. Hex is lower case. */
export interface Issuer {
  readonly name: string
  /** Subject key identifier of the CA. */
  readonly ski: string
  /** Serials that are refused whatever else is known, as `core/certificate/x509.ts` writes them. */
  readonly revokedSerials: ReadonlySet<string>
  /** The list that the CA publishes; undefined when none is asked for. */
  readonly crl: IssuerCrl | undefined
}

/** Where the revocation list of a CA is, and what happens to its clients while nobody knows who is revoked. */
export interface IssuerCrl {
  readonly source: RevocationSource
  readonly whenUnknown: "refuse" | "allow"
}

/** Who issues tokens, what its tokens have to be, and where its keys are. */
export interface AuthorizationServer extends TokenTerms {
  readonly name: string
  readonly jwksUrl: string
  /** How long keys serve beyond their usual time while they cannot be fetched, ms. */
  readonly staleMsMax: number
  /** Counts bad tokens on every route that asks for a token of this server; undefined: nothing does. */
  readonly guard: Guard | undefined
}

/** The token that a route asks for, and the scopes that each of its methods needs. */
export interface RouteToken {
  readonly server: AuthorizationServer
  readonly scopes: ScopesByMethod
  /** The origin gets the Authorization field. */
  readonly isForwarded: boolean
}

/** One of the URLs of an origin. */
export interface OriginUrl extends Choosable {
  readonly base: BaseUrl
}

/** A service behind the gateway. */
export interface Origin {
  readonly name: string
  /** At least one. */
  readonly urls: readonly OriginUrl[]
  /** Name of the binding that fetches; undefined for the network. */
  readonly binding: string | undefined
  /** The host that the caller asked for stands in the URL, and with it in Host. Only with a binding, which goes its own way. */
  readonly preservesHost: boolean
  /** Longest wait for the response header, ms. */
  readonly timeoutMs: number
  /** Longest time from sending to the last octet of the answer, ms; undefined for any. */
  readonly totalTimeoutMs: number | undefined
  readonly retry: RetryTerms
  /** Of each URL by itself. */
  readonly breaker: OriginBreaker
  /** Whom assertions to this origin are for; undefined when it gets none. */
  readonly assertion: { readonly issuer: string; readonly audience: string } | undefined
  /** Fields in which it gets the client's certificate. */
  readonly clientCert: ClientCertForm
}

/** `Client-Cert` (RFC 9440), `X-Forwarded-Client-Cert` (Envoy), both of them, or neither. */
export type ClientCertForm = "rfc9440" | "xfcc" | "both" | "none"

/** Who asserts, and with which Worker secrets: the first signs, all are published. At least one. */
export interface AssertionIssuer {
  readonly issuer: string
  readonly keys: readonly string[]
}

/** What holds for idempotency keys everywhere: the Worker secrets that protect records, the first of them in use. At least one. */
export interface IdempotencyTerms {
  readonly keys: readonly string[]
  /** How long the outcome of a key is remembered unless a route says otherwise, ms. */
  readonly ttlMs: number
}

/** What a route says about idempotency keys. */
export interface RouteIdempotency {
  /** A request that may change something needs a key. */
  readonly isRequired: boolean
  /** Field of the key, lower case. */
  readonly field: string
  /** Keys may come without quotation marks. */
  readonly isUnquoted: boolean
  readonly ttlMs: number
  /** The origin may be asked again when it is not known whether it was. */
  readonly isOriginIdempotent: boolean
}

/** What a route does to the messages that it forwards. */
export interface MessageRules {
  /** Longest request body, octets. */
  readonly requestBytesMax: number
  /** Longest body of an answer, octets; undefined for any. */
  readonly responseBytesMax: number | undefined
  readonly requestFields: FieldRules
  readonly responseFields: FieldRules
  readonly hasSecurityFields: boolean
  readonly cors: CorsPolicy | undefined
  /** Web origins that a Location may lead to beside the gateway; undefined where it is handed on as it is. */
  readonly locationAllowed: ReadonlySet<string> | undefined
}

/** What a route does with a request that every check let through. */
export type RouteAction =
  | {
      readonly kind: "forward"
      readonly origin: Origin
      readonly forwardHeaders: ReadonlySet<string> | undefined
      /** What becomes of the path on the way to the origin; undefined when nothing does. */
      readonly rewrite: Rewrite | undefined
      /** What holds for WebSockets; undefined where a request cannot become one. */
      readonly webSocket: WebSocketTerms | undefined
      readonly messages: MessageRules
      /** Undefined where keys are the origin's business. */
      readonly idempotency: RouteIdempotency | undefined
    }
  | { readonly kind: "respond"; readonly status: number; readonly body: string; readonly contentType: string }
  /** Answers with the public keys of assertions. */
  | { readonly kind: "jwks" }

/** What a route does that hands requests on. */
export type ForwardAction = Extract<RouteAction, { readonly kind: "forward" }>

/** One route. `label` is its pattern as written, for logs and tables. */
export interface Route extends HostRoute {
  readonly label: string
  /** Where it stands in the configuration, such as `ROUTES[2]`. */
  readonly place: string
  readonly needsClientCertificate: boolean
  /** All of them apply at once. None on a route that needs no certificate. */
  readonly limitSets: readonly LimitSet[]
  /** What one request takes from every bucket and quota. */
  readonly cost: number
  /** All of them have to be closed. None on a route that needs no certificate. */
  readonly guards: readonly Guard[]
  /** Status of the refusal while a guard is open; the code stays `client-blocked`. */
  readonly blockedStatus: number
  /** While the origin is unhealthy, limits of this route are counted and refuse nothing. */
  readonly isSoft: boolean
  /** Undefined: no token is asked for. */
  readonly token: RouteToken | undefined
  /** Answers say when the client's certificate ends. */
  readonly tellsExpiry: boolean
  /** Nothing is forwarded that is not on the client's audit trail first. */
  readonly isAudited: boolean
  readonly log: RouteLog
  readonly action: RouteAction
}

/** A place that records are pushed to. No other sink has the same kind and URL. */
export interface Sink {
  readonly kind: "otlp" | "ndjson" | "loki"
  readonly url: string
  /** Name of the Worker secret that holds the Authorization value. */
  readonly authorizationSecret: string | undefined
  /** Further fields, each with the name of the Worker secret that holds its value. */
  readonly headerSecrets: readonly (readonly [field: string, secret: string])[]
  readonly takes: ReadonlySet<(typeof TAKES)[number]>
  readonly isCompressed: boolean
}

/** Where administrators are let in, and how they prove who they are: by at least one of the two. */
export interface AdminRoom {
  /** None of them is a host of the gateway. */
  readonly hosts: ReadonlySet<string>
  /** Name of the Worker secret that administrators show. */
  readonly tokenSecret: string | undefined
  /** Whose tokens are believed: those of Cloudflare Access. */
  readonly access: AuthorizationServer | undefined
}

/** Everything an operator decides, validated. `version` changes whenever any of it does. */
export interface Config {
  readonly version: string
  readonly hosts: ReadonlySet<string>
  readonly via: string
  readonly logsToConsole: boolean
  readonly flushMs: number
  /** Share of the traces begun here that are exported. */
  readonly traceRatio: number
  /** Some sink takes traces. */
  readonly hasTraces: boolean
  /** Send `X-RateLimit-Limit`, `-Remaining` and `-Reset` beside the fields of the draft. */
  readonly hasLegacyFields: boolean
  /** How long before a certificate or an overlap window ends the record warns, ms. */
  readonly certificateWarningMs: number
  readonly assertion: AssertionIssuer | undefined
  /** Undefined: there is no admin room. */
  readonly admin: AdminRoom | undefined
  readonly idempotency: IdempotencyTerms | undefined
  /** CAs by subject key identifier. Of two names for one CA the first that says more than the other. */
  readonly issuers: ReadonlyMap<string, Issuer>
  readonly clients: readonly ConfiguredClient[]
  readonly clientIndex: ClientIndex<ConfiguredClient>
  readonly limitSets: readonly LimitSet[]
  readonly guards: readonly Guard[]
  readonly authorizationServers: readonly AuthorizationServer[]
  readonly origins: readonly Origin[]
  readonly routes: readonly Route[]
  readonly routeTable: HostTable<Route>
  readonly sinks: readonly Sink[]
}
