//! What should be there. Infallible, and sees no client.
