/** The monitor's access to the server. */
import { Api } from "@bellwire/client";

export const api = new Api({ storage: localStorage });

/** An address with the parameters that are not empty. */
export function address(path, parameters) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== ""));
  return query.size ? `${path}?${query}` : path;
}
