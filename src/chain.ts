/**
 * Stages as one handler, each of them inside the one before. Hono would look all of them up by path with every request; their order is
 * the same for all paths, so it is settled here. Its routers have nothing to find and are left out of the bundle.
 */
import type { Hono } from "hono"
import { HonoBase } from "hono/hono-base"
import type { GatewayContext, GatewayEnv, StageHandler } from "./context.ts"
import { refuse } from "./reply.ts"

/** Returns the application that lets every request through these stages, in their order. */
export function createStagedApplication(stages: readonly StageHandler[]): Hono<GatewayEnv> {
  // Nor is there a path to find for it: the stages read the target by rules of their own.
  const application = new HonoBase<GatewayEnv>({ router: createOnlyRoute(), getPath: () => "/" })
  const handle = chain(stages)
  application.all("*", (c) => handle(c).then(() => c.res))
  return application
}

/** Returns a router with one route, which takes every request. */
function createOnlyRoute(): HonoBase<GatewayEnv>["router"] {
  const route: [Handler, Record<string, string>][] = []
  return {
    name: "OnlyRoute",
    add: (_method, _path, handler) => void route.push([handler, {}]),
    match: () => [route],
  }
}

type Handler = Parameters<HonoBase<GatewayEnv>["router"]["add"]>[2]

/**
 * Returns the stages as one handler.
 *
 * Whatever a stage throws is a fault of the gateway: the caller learns nothing of it, the event does, and the stages around
 * it see the answer like any other. What is no Error ends at the outermost stage.
 */
function chain(stages: readonly StageHandler[]): (c: GatewayContext) => Promise<void> {
  return stages.reduceRight<(c: GatewayContext) => Promise<void>>(
    (inner, stage) => (c) => {
      let handedOn: Promise<void> | undefined
      try {
        const answer = stage(c, () => (handedOn = inner(c)))
        // A stage that has nothing to do behind the next one costs neither a promise nor a turn of its own.
        return handedOn !== undefined && answer === handedOn ? handedOn : settle(c, answer)
      } catch (error) {
        return settle(c, Promise.reject(error))
      }
    },
    async () => {},
  )
}

/** Takes what a stage answers, or what it throws, with no more promises than it takes. */
function settle(c: GatewayContext, answer: ReturnType<StageHandler>): Promise<void> {
  const fail = (error: unknown): void => {
    if (!(error instanceof Error)) throw error
    c.res = refuse(c, "internal-error", { reason: `${error.name}: ${error.message}` })
  }
  const take = (response: Response | void): void => {
    try {
      if (response !== undefined && !c.finalized) c.res = response
    } catch (error) {
      fail(error)
    }
  }
  return answer instanceof Promise ? answer.then(take, fail) : Promise.resolve(answer).then(take)
}
