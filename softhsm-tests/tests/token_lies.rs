//! A token that answers wrongly without saying so.

use std::{env, path::Path};

use symbolon_crypto::secret::Secret;
use symbolon_faults::{TokenFault, TokenShim};
use symbolon_hsm::{KeyLabel, Pkcs11Root, RootError, RootOfTrust, TokenSelector, init_token, softhsm};
use symbolon_softhsm_tests::{PIN, SO_PIN, in_own_process, pin};

#[test]
fn what_a_token_wraps_wrongly_is_not_given_out() {
    in_own_process("what_a_token_wraps_wrongly_is_not_given_out", |hsm| {
        let conf = env::var_os(softhsm::CONFIGURATION_VARIABLE).unwrap();
        let shim = TokenShim::new(Path::new(&conf), hsm.module()).unwrap();
        let _ = init_token(TokenShim::module(), "one", &pin(SO_PIN), &pin(PIN)).unwrap();
        let root = Pkcs11Root::open(TokenShim::module(), &TokenSelector::Label("one".to_owned()), pin(PIN)).unwrap();
        let label = KeyLabel::new("wrapping").unwrap();
        root.generate_wrapping_key(&label).unwrap();
        let secret = Secret::fill(|bytes| bytes.fill(5));
        let wrapped = root.wrap(&label, &secret).unwrap();
        shim.set(Some(TokenFault::Lies)).unwrap();
        let refused = root.wrap(&label, &secret).unwrap_err();
        assert!(matches!(refused, RootError::WrappedRefused { .. }), "{refused}");
        // What it wraps well is another secret: it opens, and is not the one that was given.
        shim.set(Some(TokenFault::Swaps(2))).unwrap();
        let refused = root.wrap(&label, &secret).unwrap_err();
        assert!(matches!(refused, RootError::WrappedRefused { .. }), "{refused}");
        // Each wrapping is whole in itself: the next one, of a token that is sound again, is as good as the first.
        shim.set(None).unwrap();
        assert_eq!(root.wrap(&label, &secret).unwrap(), wrapped);
        assert!(root.unwrap(&label, &wrapped).unwrap().ct_eq(&secret));
    });
}
