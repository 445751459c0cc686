/**
 * The end of a pipeline that is cut off: in the place of the stage `origin` it does what the floor (`pass-through.ts`) does, and
 * hands back an answer whose fields the stages in front can set.
 */
import type { StageHandler } from "../src/context.ts"

/** Returns the stage. */
export function createOriginStage(): StageHandler {
  return async function origin(c) {
    const url = new URL(c.req.raw.url)
    const { ORIGIN } = c.env as unknown as { readonly ORIGIN: string }
    const answer = await fetch(ORIGIN + url.pathname + url.search, c.req.raw)
    return new Response(answer.body, answer)
  }
}
