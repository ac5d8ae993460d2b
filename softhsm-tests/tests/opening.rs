//! Making and opening tokens: which one is opened, with which PIN, and how often.

use std::{fs, thread};

use cryptoki::{context::Pkcs11, types::AuthPin};
use symbolon_hsm::{
    KeyLabel, Pkcs11Root, RootError, RootKind, RootOfTrust, TokenSelector, conformance, init_token, probe,
};
use symbolon_softhsm_tests::{PIN, SO_PIN, SoftHsm, in_own_process, pin};

fn by_label(label: &str) -> TokenSelector {
    TokenSelector::Label(label.to_owned())
}

fn code(result: Result<impl Sized, RootError>) -> &'static str {
    result.map_or_else(|error| error.code(), |_| "done")
}

#[test]
fn a_token_is_found_by_label_and_by_serial_number() {
    in_own_process("a_token_is_found_by_label_and_by_serial_number", |softhsm| {
        let (one, two) = (softhsm.token("one"), softhsm.token("two"));
        assert_ne!(one.serial, two.serial);
        for info in [one, two] {
            for selector in [by_label(&info.label), TokenSelector::Serial(info.serial.clone())] {
                let root = Pkcs11Root::open(softhsm.module(), &selector, pin(PIN)).unwrap();
                assert_eq!(root.info().unwrap(), info);
                assert_eq!(root.kind(), RootKind::Pkcs11);
                assert_eq!(root.kind().warning(), None);
            }
        }
    });
}

#[test]
fn a_token_that_is_not_there_is_named() {
    in_own_process("a_token_that_is_not_there_is_named", |softhsm| {
        let _ = softhsm.token("one");
        let error = softhsm.open("two").unwrap_err();
        assert!(
            matches!(&error, RootError::TokenNotFound { token } if *token == by_label("two")),
            "{error}"
        );
        assert_eq!(error.to_string(), "no slot holds a token with label \"two\"");
    });
}

#[test]
fn no_folder_of_tokens_is_no_token() {
    in_own_process("no_folder_of_tokens_is_no_token", |softhsm| {
        fs::remove_dir(softhsm.tokens()).unwrap();
        let error = softhsm.open("one").unwrap_err();
        assert!(["module_load", "token_not_found"].contains(&error.code()), "{error}");
    });
}

#[test]
fn two_tokens_with_one_label_are_told_apart_by_serial_number_only() {
    in_own_process(
        "two_tokens_with_one_label_are_told_apart_by_serial_number_only",
        |softhsm| {
            let first = softhsm.token("twin");
            // Behind the back of `init_token`, which would refuse a second one.
            let raw = Pkcs11::new(softhsm.module()).unwrap();
            let mut slots = raw.get_slots_with_token().unwrap().into_iter();
            let free = slots
                .find(|slot| !raw.get_token_info(*slot).unwrap().token_initialized())
                .unwrap();
            raw.init_token(free, &AuthPin::from(SO_PIN), "twin").unwrap();
            let error = softhsm.open("twin").unwrap_err();
            assert!(matches!(error, RootError::TokenAmbiguous { count: 2, .. }), "{error}");
            let root = Pkcs11Root::open(softhsm.module(), &TokenSelector::Serial(first.serial), pin(PIN)).unwrap();
            conformance::a_wrapped_secret_comes_back(&root);
        },
    );
}

#[test]
fn a_wrong_pin_is_refused_and_no_error_shows_a_pin() {
    in_own_process("a_wrong_pin_is_refused_and_no_error_shows_a_pin", |softhsm| {
        let _ = softhsm.token("node");
        for wrong in ["", "1", "user-pin-3141592654", SO_PIN, &"9".repeat(300)] {
            let error = Pkcs11Root::open(softhsm.module(), &by_label("node"), pin(wrong)).unwrap_err();
            assert!(
                matches!(&error, RootError::WrongPin { token } if *token == by_label("node")),
                "{error}"
            );
            let shown = format!("{error} {error:?}");
            assert!(
                !shown.contains(PIN) && !shown.contains(SO_PIN) && !shown.contains("3141592654"),
                "{shown}"
            );
        }
        softhsm.open("node").unwrap();
    });
}

#[test]
fn a_token_is_opened_once_and_again_after_it_was_closed() {
    in_own_process("a_token_is_opened_once_and_again_after_it_was_closed", |softhsm| {
        let root = softhsm.root("node");
        let label = KeyLabel::new("identity").unwrap();
        let public = root.generate_identity_key(&label).unwrap();
        for second in [PIN, "a wrong one"] {
            let error = Pkcs11Root::open(softhsm.module(), &by_label("node"), pin(second)).unwrap_err();
            assert!(matches!(error, RootError::AlreadyOpen { .. }), "{error}");
        }
        drop(root);
        let wrong = Pkcs11Root::open(softhsm.module(), &by_label("node"), pin("a wrong one"));
        assert_eq!(code(wrong), "wrong_pin", "closing logs out");
        let root = softhsm.open("node").unwrap();
        probe(&root, &label, &public, &[1; 32]).unwrap();
    });
}

#[test]
fn two_open_tokens_do_not_see_each_others_keys() {
    in_own_process("two_open_tokens_do_not_see_each_others_keys", |softhsm| {
        let (one, two) = (softhsm.root("one"), softhsm.root("two"));
        let label = KeyLabel::new("identity").unwrap();
        let public = one.generate_identity_key(&label).unwrap();
        assert_eq!(code(two.public_key(&label)), "key_missing");
        assert_ne!(two.generate_identity_key(&label).unwrap(), public);
        thread::scope(|scope| {
            scope.spawn(|| conformance::eight_threads_at_once_get_right_answers(&one));
            scope.spawn(|| conformance::eight_threads_at_once_get_right_answers(&two));
        });
        drop(two);
        probe(&one, &label, &public, &[2; 32]).unwrap();
    });
}

#[test]
fn a_token_label_is_given_once() {
    in_own_process("a_token_label_is_given_once", |softhsm| {
        let _ = softhsm.token("node");
        assert_eq!(
            code(init_token(softhsm.module(), "node", &pin(SO_PIN), &pin(PIN))),
            "token_exists"
        );
        assert_eq!(
            code(init_token(softhsm.module(), "n\u{f6}de", &pin(SO_PIN), &pin(PIN))),
            "bad_token_label"
        );
    });
}

#[test]
fn a_token_cut_short_before_its_pin_was_set_is_finished_by_the_same_officer() {
    let name = "a_token_cut_short_before_its_pin_was_set_is_finished_by_the_same_officer";
    in_own_process(name, |softhsm: &SoftHsm| {
        let init = |so_pin: &str, user_pin: &str| init_token(softhsm.module(), "node", &pin(so_pin), &pin(user_pin));
        assert_eq!(code(init(SO_PIN, "1")), "pin_unacceptable");
        assert_eq!(code(softhsm.open("node")), "pin_not_set");
        assert_eq!(code(init("another officer", PIN)), "wrong_pin");
        init(SO_PIN, PIN).unwrap();
        softhsm.open("node").unwrap();
    });
}

#[test]
fn a_file_that_is_no_module_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    fs::write(&text, "no library").unwrap();
    for path in [text, folder.path().join("missing.so")] {
        let error = Pkcs11Root::open(&path, &by_label("node"), pin(PIN)).unwrap_err();
        assert!(matches!(&error, RootError::ModuleLoad { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
