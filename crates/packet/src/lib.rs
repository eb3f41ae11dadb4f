//! Zero-copy packet views and incremental checksums.
