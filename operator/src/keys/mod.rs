//! What the operator keeps secret for a `ChatCluster`: the keys that sign access tokens, and the certificates by which its
//! processes know each other. Nothing of it is ever logged.
