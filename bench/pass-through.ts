/**
 * The floor: a Worker that only calls fetch. What a gateway costs is counted from here.
 */
export default {
  fetch(request: Request, env: { readonly ORIGIN: string }): Promise<Response> {
    const url = new URL(request.url)
    return fetch(env.ORIGIN + url.pathname + url.search, request)
  },
}
