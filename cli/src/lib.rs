//! Placeholder until the crate is filled.
#![forbid(unsafe_code)]
