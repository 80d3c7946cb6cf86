//! The derive macro that turns a struct into an entity.
