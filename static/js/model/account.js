/** The user's account: password, sessions, devices, and its end. */
import { know } from "./people.js";
import { api, keepMe } from "./session.js";

export const changePassword = (old, fresh) => api.post("/api/v1/auth/password", { old, new: fresh });

export const loadSessions = async () => (await api.get("/api/v1/users/me/sessions")).items;
export const endSession = (id) => api.delete(`/api/v1/users/me/sessions/${id}`);
export const endOtherSessions = () => api.delete("/api/v1/users/me/sessions");

export const loadDevices = async () => (await api.get("/api/v1/devices?limit=100")).items;
export const removeDevice = (id) => api.delete(`/api/v1/devices/${encodeURIComponent(id)}`);

/** Set the user's picture. @param {File} file */
export async function putAvatar(file) {
  show(await api.putFile("/api/v1/users/me/avatar", file));
}

export async function removeAvatar() {
  show(await api.delete("/api/v1/users/me/avatar"));
}

function show(user) {
  keepMe(user);
  know(user.id, { avatarUrl: user.avatarUrl });
}

/** All data of the user, to be kept as a file. @returns {Promise<Blob>} */
export const exportMe = () => api.file("POST", "/api/v1/users/me/export");

export const loadMe = () => api.get("/api/v1/users/me");
export const deleteAccount = () => api.delete("/api/v1/users/me");
