/** The user's account: password, sessions, devices, and its end. */
import { api } from "./session.js";

export const changePassword = (old, fresh) => api.post("/api/v1/auth/password", { old, new: fresh });

export const loadSessions = async () => (await api.get("/api/v1/users/me/sessions")).items;
export const endSession = (id) => api.delete(`/api/v1/users/me/sessions/${id}`);
export const endOtherSessions = () => api.delete("/api/v1/users/me/sessions");

export const loadDevices = async () => (await api.get("/api/v1/devices?limit=100")).items;
export const removeDevice = (id) => api.delete(`/api/v1/devices/${encodeURIComponent(id)}`);

export const loadMe = () => api.get("/api/v1/users/me");
export const deleteAccount = () => api.delete("/api/v1/users/me");
