/**
 * Stage `certificate`: a client certificate that the platform vouches for and whose own facts agree.
 *
 * Decodes and hashes a leaf once per isolate; the rules are `core/certificate/certificate.ts`, for CAs whose revocations the gateway looks
 * after by itself `core/certificate/revocation.ts`, and behind the local edge `core/assertion/edge-assertion.ts`.
 */
import type { Issuer } from "../config/config.ts"
import { required, type Gateway, type GatewayContext, type StageHandler } from "../context.ts"
import { CERTIFICATE_CACHE_ENTRIES_MAX } from "../core/bounds.ts"
import {
  decideLeaf,
  decidePresented,
  type ClientCertificate,
  type LeafDigests,
} from "../core/certificate/certificate.ts"
import { decideRevocation, findIssuer, type RevocationRefusal } from "../core/certificate/revocation.ts"
import { parseX509, type X509Facts } from "../core/certificate/x509.ts"
import { HOLDS, type Standing } from "../core/message/websocket.ts"
import { sha256Hex } from "../digest.ts"
import { createAssertionCheck } from "../edge-assertions.ts"
import { createRevocationVerdicts } from "../gate/revocation-verdicts.ts"
import { remember } from "../memory.ts"
import { refuse, refuseUnavailable } from "../reply.ts"

type Presented = Extract<ReturnType<typeof decidePresented>, { readonly ok: true }>

interface Leaf extends LeafDigests {
  readonly facts: X509Facts | undefined
}

/** Returns the stage. */
export function createCertificateStage(gateway: Gateway): StageHandler {
  const { config, nowMs, trust } = gateway
  const leaves = new Map<string, Leaf>()
  const verdicts = createRevocationVerdicts(gateway)
  const checkAssertion = trust.kind === "edge" ? createAssertionCheck(trust.key, nowMs) : undefined
  return function certificate(c, next) {
    if (!required(c.get("exchange").route, "route").needsClientCertificate) return next()
    const cf: Readonly<Record<string, unknown>> | undefined = c.req.raw.cf
    return checkAssertion === undefined ? admit(c, next, cf) : admitAsserted(c, next, cf, checkAssertion)
  }

  /** Admits what the local edge vouches for. */
  async function admitAsserted(
    c: GatewayContext,
    next: () => Promise<void>,
    cf: Readonly<Record<string, unknown>> | undefined,
    check: ReturnType<typeof createAssertionCheck>,
  ): Promise<Response | void> {
    const assertion = await check(c, cf)
    if (!assertion.accepted) return refuse(c, "edge-assertion-invalid", { reason: assertion.reason })
    c.get("exchange").requestId = assertion.requestId
    return admit(c, next, cf)
  }

  function admit(
    c: GatewayContext,
    next: () => Promise<void>,
    cf: Readonly<Record<string, unknown>> | undefined,
  ): Response | Promise<Response | void> {
    const presented = decidePresented(cf?.["tlsClientAuth"])
    if (!presented.ok) return refuse(c, presented.code, presented)
    // Without a platform that says so, whoever reaches this port writes request.cf.
    if (trust.kind === "nobody") return refuse(c, "edge-assertion-invalid", { reason: "platform_not_declared" })
    const known = leaves.get(presented.rfc9440)
    // A leaf that is known costs no wait.
    return known === undefined
      ? readLeaf(presented.rfc9440).then((leaf) => admitLeaf(c, next, presented, leaf))
      : admitLeaf(c, next, presented, known)
  }

  function admitLeaf(
    c: GatewayContext,
    next: () => Promise<void>,
    presented: Presented,
    leaf: Leaf,
  ): Response | Promise<Response | void> {
    const decision = decideLeaf(presented, leaf.facts, leaf, nowMs())
    if (!decision.ok) return refuse(c, decision.code, decision)
    const { certificate } = decision
    // Only accepted ones, so that strangers cannot push clients out.
    remember(leaves, presented.rfc9440, leaf, CERTIFICATE_CACHE_ENTRIES_MAX)
    const issuer = leaf.facts === undefined ? undefined : findIssuer(config.issuers, presented.issuerSki, leaf.facts)
    if (issuer?.revokedSerials.has(certificate.serial) === true)
      return refuse(c, "client-cert-invalid", { reason: "cert_revoked_by_configuration" })
    const hold = (): Promise<void> => {
      const exchange = c.get("exchange")
      exchange.certificate = certificate
      exchange.rechecks?.push({ ask: () => recheck(c, certificate, issuer) })
      return next()
    }
    return issuer?.crl === undefined ? hold() : admitListed(c, hold, certificate.serial, issuer.crl)
  }

  /** Admits a certificate of a CA whose list of revoked ones the gateway reads by itself. */
  async function admitListed(
    c: GatewayContext,
    hold: () => Promise<void>,
    serial: string,
    { source, whenUnknown }: NonNullable<Issuer["crl"]>,
  ): Promise<Response | void> {
    const revocation = decideRevocation(await verdicts.ask(c, serial, source), whenUnknown)
    if (!revocation.ok) return refuseUnlisted(c, revocation)
    if (revocation.unknown !== undefined) c.get("exchange").revocationUnknown = revocation.unknown
    return hold()
  }

  /** Whether the certificate of an open socket still holds. That nobody knows is not its end where the operator says so. */
  async function recheck(
    c: GatewayContext,
    { notAfterMs, serial }: ClientCertificate,
    issuer: Issuer | undefined,
  ): Promise<Standing> {
    if (nowMs() > notAfterMs) return { kind: "ended", reason: "cert_expired" }
    if (issuer?.crl === undefined) return HOLDS
    const { source, whenUnknown } = issuer.crl
    const revocation = decideRevocation(await verdicts.ask(c, serial, source), whenUnknown)
    if (revocation.ok) return HOLDS
    return { kind: revocation.isRevoked ? "ended" : "unknown", reason: revocation.reason }
  }
}

/** A revoked certificate is its holder's affair; that nobody knows is ours, and may be over at the next attempt. */
function refuseUnlisted(c: GatewayContext, { isRevoked, reason }: RevocationRefusal): Response {
  return isRevoked ? refuse(c, "client-cert-invalid", { reason }) : refuseUnavailable(c, reason)
}

async function readLeaf(rfc9440: string): Promise<Leaf> {
  const der = decodeBase64(rfc9440.slice(1, -1))
  const facts = der && parseX509(der)
  if (facts === undefined || der === undefined) return { facts: undefined, fingerprint: "", spki: "" }
  const [fingerprint, spki] = await Promise.all([sha256Hex(der), sha256Hex(Uint8Array.from(facts.publicKey))])
  return { facts, fingerprint, spki }
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
  } catch {
    return undefined
  }
}
