//! Accounts, sessions, tokens.
