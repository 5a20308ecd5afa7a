//! Names, labels and annotations of what is made for a `ChatCluster`.
