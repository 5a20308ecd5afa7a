//! Where the bytes of files lie, for those who keep them outside of the system of record: a folder, or an object store.

pub mod config;
pub mod disk;
pub mod s3;
