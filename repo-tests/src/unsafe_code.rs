//! `#![forbid(unsafe_code)]` at the root of every library and binary: the lint of the workspace says so too, but a crate
//! that forgets to inherit it would not notice.

use crate::{Finding, source};

/// Roots of crates that may hold unsafe code, and why. None so far: even the PKCS#11 binding is a crate of others.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Checks the root file of one library or binary.
#[must_use]
pub fn check(file: &str, text: &str) -> Vec<Finding> {
    if EXCEPTIONS.iter().any(|(excepted, _)| *excepted == file) {
        return Vec::new();
    }
    match source::has_inner_attribute(text, "forbid(unsafe_code)") {
        Ok(true) => Vec::new(),
        Ok(false) => vec![Finding::new(file, "lacks #![forbid(unsafe_code)]")],
        Err(error) => vec![Finding::new(file, format!("can not be read as Rust: {error}"))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_the_attribute_is_found() {
        for text in [
            "",
            "#![deny(unsafe_code)]",
            "// #![forbid(unsafe_code)]",
            "#[forbid(unsafe_code)] fn f() {}",
        ] {
            assert_eq!(
                check("a/src/lib.rs", text),
                [Finding::new("a/src/lib.rs", "lacks #![forbid(unsafe_code)]")]
            );
        }
    }

    #[test]
    fn a_root_with_the_attribute_passes() {
        assert_eq!(
            check("a/src/lib.rs", "//! Docs.\n#![forbid(unsafe_code)]\nfn f() {}"),
            []
        );
    }
}
