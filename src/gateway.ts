/**
 * Builds the gateway: the stages of `src/pipeline.ts`, in its order, as one Hono application. No rule, no order.
 */
import { Hono } from "hono"
import { createCertificateStage } from "./admit/certificate.ts"
import { createClientGateStage } from "./admit/client-gate.ts"
import { createIdentityStage } from "./admit/identity.ts"
import { createIpLimitStage } from "./admit/ip-limit.ts"
import { createRouteStage } from "./admit/route.ts"
import { createTargetStage } from "./admit/target.ts"
import { createAccessPolicyStage } from "./authorize/access-policy.ts"
import { createTokenStage } from "./authorize/token.ts"
import type { Gateway, GatewayEnv, StageHandler } from "./context.ts"
import { createIdempotencyStage } from "./forward/idempotency.ts"
import { createOriginStage } from "./forward/origin.ts"
import { createRespondStage } from "./forward/respond.ts"
import { createClientObjects, type ClientObjects } from "./gate/client-object.ts"
import { createAccessLogStage } from "./observe/access-log.ts"
import { createRequestIdStage } from "./observe/request-id.ts"
import { createTraceStage } from "./observe/trace.ts"
import { PIPELINE, type StageName } from "./pipeline.ts"
import { refuse } from "./reply.ts"

const STAGES: Readonly<Record<StageName, (gateway: Gateway, objects: ClientObjects) => StageHandler>> = {
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
  origin: createOriginStage,
}

/** Returns the application that handles requests. One per isolate: stages keep caches. */
export function createApplication(gateway: Gateway): Hono<GatewayEnv> {
  const application = new Hono<GatewayEnv>()
  // Shared: an object that one stage finds overloaded is left alone by all of them.
  const objects = createClientObjects(gateway)
  for (const { stage } of PIPELINE) application.use(STAGES[stage](gateway, objects))
  // Whatever a stage throws is a fault of the gateway: the caller learns nothing of it, the event does.
  application.onError((error, c) => refuse(c, "internal-error", { reason: `${error.name}: ${error.message}` }))
  return application
}
