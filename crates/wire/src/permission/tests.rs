//! Placeholder until the matrix is here.
