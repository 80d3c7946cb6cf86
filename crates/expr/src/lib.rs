//! The one expression language of queries, rules, subscriptions, CLI and admin.
