/**
 * Builds the gateway: the stages of `src/pipeline.ts`, in its order, as one Hono application. No rule, no order.
 */
import type { Hono } from "hono"
import { createCertificateStage } from "./admit/certificate.ts"
import { createClientGateStage } from "./admit/client-gate.ts"
import { createIdentityStage } from "./admit/identity.ts"
import { createIpLimitStage } from "./admit/ip-limit.ts"
import { createRouteStage } from "./admit/route.ts"
import { createTargetStage } from "./admit/target.ts"
import { createAccessPolicyStage } from "./authorize/access-policy.ts"
import { createTokenStage } from "./authorize/token.ts"
import { createStagedApplication } from "./chain.ts"
import type { Gateway, GatewayEnv, StageHandler } from "./context.ts"
import { createIdempotencyStage } from "./forward/idempotency.ts"
import { createOriginStage } from "./forward/origin.ts"
import { createRespondStage } from "./forward/respond.ts"
import { createClientObjects, type ClientObjects } from "./gate/client-object.ts"
import { createAccessLogStage } from "./observe/access-log.ts"
import { createAuditTrails, type AuditTrails } from "./observe/audit-trails.ts"
import { createAuditStage } from "./observe/audit.ts"
import { createRequestIdStage } from "./observe/request-id.ts"
import { createTraceStage } from "./observe/trace.ts"
import { ORDER, type StageName } from "./pipeline.ts"

const STAGES: Readonly<
  Record<StageName, (gateway: Gateway, objects: ClientObjects, trails: AuditTrails) => StageHandler>
> = {
  "access-log": createAccessLogStage,
  "request-id": createRequestIdStage,
  target: createTargetStage,
  route: createRouteStage,
  "ip-limit": createIpLimitStage,
  certificate: createCertificateStage,
  identity: createIdentityStage,
  trace: createTraceStage,
  "client-gate": createClientGateStage,
  token: createTokenStage,
  "access-policy": createAccessPolicyStage,
  respond: createRespondStage,
  idempotency: createIdempotencyStage,
  audit: createAuditStage,
  origin: createOriginStage,
}

/** Returns the application that handles requests. One per isolate: stages keep caches. */
export function createApplication(gateway: Gateway): Hono<GatewayEnv> {
  return createStagedApplication(createStages(gateway))
}

/** Returns the stages in the order of the pipeline, each a function of its name. */
export function createStages(gateway: Gateway): readonly StageHandler[] {
  // Shared: an object that one stage finds overloaded is left alone by all of them.
  const objects = createClientObjects(gateway)
  // Shared: one stage sees what is refused, another what is about to happen, and both belong on the same trail.
  const trails = createAuditTrails(gateway)
  return ORDER.map((stage) => STAGES[stage](gateway, objects, trails))
}
