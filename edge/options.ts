/**
 * What the edge is given and what it tells: options with their defaults, the material that can be replaced while it runs,
 * and the events that a terminal shows. Types and numbers only; called by every file of `edge/`.
 */
import type { ProblemCode } from "../src/core/problem.ts"

/** Certificates, trust and hosts: everything that {@link Edge.reload} can replace. All of it is PEM text, never a path. */
export interface EdgeMaterial {
  /** The server's certificate, leaf first, followed by its intermediates. */
  readonly certificate: string
  /** The server's private key. */
  readonly privateKey: string
  /** The CAs that may issue client certificates. At least one; the system's roots are never consulted. */
  readonly clientCas: string
  /** Revocation lists, one or more in each text. An empty array means that revocation is not checked. */
  readonly crls: readonly string[]
  /** Host names that are served, for Host and for SNI. */
  readonly hosts: readonly string[]
  /** Those of {@link hosts} that are the admin room's; what the edge counts goes to the Worker with their requests. Default none. */
  readonly adminHosts?: readonly string[]
}

/** Deadlines of the edge, in ms. */
export interface EdgeTimeouts {
  /** From accept to the end of the TLS handshake. */
  readonly handshakeMs: number
  /** To the end of the request header. */
  readonly headersMs: number
  /** To the end of the request body. */
  readonly requestMs: number
  /** How long a connection may be idle between two requests. */
  readonly keepAliveMs: number
  /** How long nothing may move on a connection in the middle of an exchange; above the Worker's own deadline. */
  readonly idleMs: number
  /** From the request to the header of the Worker's response; above the longest wait for an origin. */
  readonly workerMs: number
  /** How long an unread request body is read and thrown away, so that the refusal reaches its sender. */
  readonly lingerMs: number
  /** How often it is looked whether the certificates of open WebSockets are still valid and unrevoked; a reload looks at once. */
  readonly tunnelReviewMs: number
  /** How long {@link Edge.close} waits for exchanges in flight. */
  readonly closeMs: number
}

/** The defaults. A handshake takes a round trip or two, a header one: whoever needs longer is holding a descriptor. */
export const EDGE_TIMEOUTS: EdgeTimeouts = {
  handshakeMs: 5_000,
  headersMs: 10_000,
  requestMs: 120_000,
  keepAliveMs: 30_000,
  idleMs: 120_000,
  workerMs: 110_000,
  lingerMs: 1_000,
  tunnelReviewMs: 10_000,
  closeMs: 5_000,
}

/** Most connections at a time, including those in the handshake. Below the usual limit of 4,096 descriptors with two per exchange. */
export const EDGE_CONNECTIONS_MAX = 1_500
/** Most requests waiting behind one in progress on a connection (pipelining); the connection ends after them. */
export const PIPELINED_REQUESTS_MAX = 32
/** Validity of an edge assertion in ms: the way to the Worker takes milliseconds, a debugger's stop takes seconds. */
export const ASSERTION_VALIDITY_MS = 10_000

/** Where workerd listens. Loopback only: the port is no boundary. */
export interface WorkerAddress {
  readonly hostname: string
  readonly port: number
}

/** Options of `startEdge`. */
export interface EdgeOptions extends EdgeMaterial {
  /** Address to listen on; default 127.0.0.1. */
  readonly host?: string
  /** Port to listen on; 0 lets the system choose. */
  readonly port: number
  /** Where the Worker listens, or a function asked for every request because workerd may restart on another port. */
  readonly worker: WorkerAddress | (() => WorkerAddress)
  /** Key of the edge assertion, 32 octets, known to the edge and the Worker only. */
  readonly assertionKey: Uint8Array
  /** Epoch ms; default `Date.now`. */
  readonly now?: () => number
  /** Random octets; default `crypto.randomBytes`. */
  readonly randomBytes?: (size: number) => Uint8Array
  /** Told about everything the edge decides by itself. Never throws into the edge. */
  readonly onEvent?: (event: EdgeEvent) => void
  readonly timeouts?: Partial<EdgeTimeouts>
  /** Most connections at a time; default {@link EDGE_CONNECTIONS_MAX}. */
  readonly connectionsMax?: number
}

/** Something the edge decided by itself. Holds no header value and no more than 1,024 characters of a target. */
export type EdgeEvent =
  | {
      readonly kind: "refused"
      readonly requestId: string
      readonly code: ProblemCode
      readonly status: number
      readonly clientAddress: string
      /** Method and target as sent, cut; empty when the request was not parsed. */
      readonly method: string
      readonly target: string
    }
  | { readonly kind: "tls-failed"; readonly clientAddress: string; readonly reason: string }
  | { readonly kind: "connection-dropped"; readonly reason: string }
  | { readonly kind: "worker-failed"; readonly requestId: string; readonly reason: string }
  /** A CA without a usable revocation list although lists are configured: its clients are refused. */
  | { readonly kind: "crl-unavailable"; readonly issuer: string; readonly reason: string }
  | { readonly kind: "reloaded" }
  | { readonly kind: "reload-failed"; readonly reason: string }
  | { readonly kind: "internal-error"; readonly reason: string }

/** A running edge. */
export interface Edge {
  readonly port: number
  readonly address: string
  /**
   * Replaces what is given and keeps the rest, atomically: when any of it is unusable nothing changes and an error says
   * what to do. Open connections stay, and their next request is judged by the new CAs, lists and hosts.
   */
  reload(material: Partial<EdgeMaterial>): void
  /** Accepts nothing more, lets exchanges in flight finish within `closeMs`, then ends what is left. */
  close(): Promise<void>
}
