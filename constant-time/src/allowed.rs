//! Where a branch on what was a secret is meant: its outcome is public, whoever takes it. Each is one function of one
//! operation, with the reason.

use crate::memcheck::Report;

/// One exception.
pub(crate) struct Allowed {
    pub(crate) case: &'static str,
    /// Stands in one of the innermost frames; after `^`, in the very innermost.
    pub(crate) frame: &'static str,
    pub(crate) why: &'static str,
}

/// How many frames, from the innermost, are looked at: further out stands what merely called.
const FRAMES: usize = 4;

const CANONICAL: &str = "whether a fragment is below the group's order: the node that sent one that is not is named";
const FITS: &str = "whether the fragment fits its commitment: the answer is told to everyone";
const COMMITTED: &str = "whether the key is the committed one: the answer is told to the caller";
const PUBLIC_MATRIX: &str = "ML-KEM draws its matrix A from a seed that is part of the public key; that the seed comes from the key's own is seen";

const TAG: &str = "whether the tag fits: the answer is told to the caller";

pub(crate) const ALLOWED: &[Allowed] = &[
    allow("check-fragment", "(scalar.rs:17)", CANONICAL),
    allow("check-fragment", "check_fragment (fragment.rs:", FITS),
    allow("own-portable", "(scalar.rs:17)", CANONICAL),
    allow("own-aws-lc", "(scalar.rs:17)", CANONICAL),
    allow("unlock", "(scalar.rs:17)", CANONICAL),
    allow("unlock", "^unlock (open.rs:", COMMITTED),
    allow("key-commitment", "(scalar.rs:17)", CANONICAL),
    allow("key-commitment", "^unlock (open.rs:", COMMITTED),
    allow("open-portable", "decrypt_inout_detached (src/lib.rs:301)", TAG),
    allow("open-portable", "^map_err (library/core/src/result.rs", TAG),
    allow("open-portable", "^expect (library/core/src/result.rs", TAG),
    allow("open-portable", "^symbolon_constant_time::cases::open (cases.rs", TAG),
    allow("open-aws-lc", "^aead_aes_gcm_open_gather_impl (e_aes.c:1200)", TAG),
    allow("own-portable", "decrypt_inout_detached (src/lib.rs:301)", TAG),
    allow("own-portable", "^map_err (library/core/src/result.rs", TAG),
    allow("own-portable", "^branch (library/core/src/result.rs", TAG),
    allow("own-aws-lc", "^aead_aes_gcm_open_gather_impl (e_aes.c:1200)", TAG),
    allow("decapsulate", "sample_ntt (src/algebra.rs:", PUBLIC_MATRIX),
];

const fn allow(case: &'static str, frame: &'static str, why: &'static str) -> Allowed {
    Allowed { case, frame, why }
}

/// The exception that allows this report, if one does. Only branches can be: an address tells more than one bit.
pub(crate) fn of(case: &str, report: &Report) -> Option<usize> {
    let stands = |frame: &str| match frame.strip_prefix('^') {
        Some(innermost) => report.frames.first().is_some_and(|one| one.contains(innermost)),
        None => report.frames.iter().take(FRAMES).any(|one| one.contains(frame)),
    };
    ALLOWED
        .iter()
        .position(|one| one.case == case && report.branch && stands(one.frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(branch: bool, frames: &[&str]) -> Report {
        Report {
            branch,
            frames: frames.iter().map(|frame| (*frame).to_owned()).collect(),
        }
    }

    #[test]
    fn an_exception_holds_for_its_operation_its_place_and_branches_only() {
        let place = ["from (src/lib.rs:663)", "parse (scalar.rs:17)"];
        assert!(of("unlock", &report(true, &place)).is_some());
        assert!(
            of("unlock", &report(false, &place)).is_none(),
            "an address is never allowed"
        );
        assert!(of("deal-portable", &report(true, &place)).is_none());
        assert!(
            of("unlock", &report(true, &["a", "b", "c", "d", "parse (scalar.rs:17)"])).is_none(),
            "too far out"
        );
        assert!(
            of(
                "open-portable",
                &report(true, &["x", "map_err (library/core/src/result.rs:9)"])
            )
            .is_none()
        );
    }
}
