/**
 * A Worker that does nothing: what it takes to start it is workerd's, not the gateway's.
 */
export default {
  fetch: (): Response => new Response("ok\n"),
}
