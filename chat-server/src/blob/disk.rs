//! Blobs as files on a local disk.
