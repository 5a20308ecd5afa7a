//! What is built for several specs: by golden files, and by what must hold of every one.

mod rules;
mod snapshots;
mod specs;
