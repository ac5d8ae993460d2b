//! The one suite, on a real SoftHSM and on the software root. One test per property and root, so that a failure names
//! both.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use symbolon_hsm::{DevelopmentOnly, Mode, SoftwareRoot, conformance};
use symbolon_softhsm_tests::in_own_process;

macro_rules! properties {
    ($($property:ident,)*) => {
        /// Every property of the suite is listed below: a new one can not be forgotten.
        #[test]
        fn every_property_is_run() {
            let listed = [$(stringify!($property)),*];
            let exported: Vec<&str> = conformance::PROPERTIES.iter().map(|(name, _)| *name).collect();
            assert_eq!(exported, listed);
        }

        mod softhsm {
            $(
                #[test]
                fn $property() {
                    super::in_own_process(concat!("softhsm::", stringify!($property)), |softhsm| {
                        super::conformance::$property(&softhsm.root("conformance"));
                    });
                }
            )*
        }

        mod software {
            $(
                #[test]
                fn $property() {
                    super::on_software(super::conformance::$property);
                }
            )*
        }
    };
}

properties! {
    an_identity_key_signs_and_its_public_key_verifies,
    every_signature_has_a_low_s,
    a_public_key_is_91_bytes_of_spki_and_stays_the_same,
    a_wrapped_secret_comes_back,
    a_wrapped_secret_changed_in_any_byte_is_refused,
    a_wrapped_secret_of_another_length_is_refused,
    a_secret_wrapped_by_another_key_is_refused,
    a_label_is_given_once,
    a_missing_key_is_named,
    a_key_serves_its_one_purpose_only,
    attributes_read_back_are_right,
    a_destroyed_identity_key_is_gone,
    a_destroyed_wrapping_key_takes_its_secrets_with_it,
    a_probe_passes_with_the_right_key_only,
    a_root_says_what_it_is,
    eight_threads_at_once_get_right_answers,
}

fn on_software(property: fn(&dyn symbolon_hsm::RootOfTrust)) {
    let folder = tempfile::tempdir().unwrap();
    let acknowledged = DevelopmentOnly::acknowledge(Mode::Dev).unwrap();
    property(&SoftwareRoot::open(acknowledged, &folder.path().join("root")).unwrap());
}
