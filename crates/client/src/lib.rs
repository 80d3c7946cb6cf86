//! Drives a client session against a store over a WebSocket.
