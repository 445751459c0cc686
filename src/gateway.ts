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
import type { Gateway, GatewayContext, GatewayEnv, StageHandler } from "./context.ts"
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
import { refuse } from "./reply.ts"

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
  const application = new Hono<GatewayEnv>()
  const handle = chain(createStages(gateway))
  application.all("*", async (c) => {
    await handle(c)
    return c.res
  })
  return application
}

/** Returns the stages in the order of the pipeline, each a function of its name. */
export function createStages(gateway: Gateway): readonly StageHandler[] {
  // Shared: an object that one stage finds overloaded is left alone by all of them.
  const objects = createClientObjects(gateway)
  // Shared: one stage sees what is refused, another what is about to happen, and both belong on the same trail.
  const trails = createAuditTrails(gateway)
  return ORDER.map((stage) => STAGES[stage](gateway, objects, trails))
}

/**
 * Returns the stages as one handler, each of them inside the one before. Hono would look all of them up by path with every
 * request; the order is the same for all paths, so it is settled here.
 *
 * Whatever a stage throws is a fault of the gateway: the caller learns nothing of it, the event does, and the stages around
 * it see the answer like any other. What is no Error ends at the outermost stage.
 */
function chain(stages: readonly StageHandler[]): (c: GatewayContext) => Promise<void> {
  return stages.reduceRight<(c: GatewayContext) => Promise<void>>(
    (inner, stage) => async (c) => {
      try {
        const answer = await stage(c, async () => inner(c))
        if (answer !== undefined && !c.finalized) c.res = answer
      } catch (error) {
        if (!(error instanceof Error)) throw error
        c.res = refuse(c, "internal-error", { reason: `${error.name}: ${error.message}` })
      }
    },
    async () => {},
  )
}
