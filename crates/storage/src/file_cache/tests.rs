//! Tests of the file cache.
