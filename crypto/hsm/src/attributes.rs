//! What a root says of a key, and the check that the key is fit for its one purpose and for nothing else.
//!
//! A template is a wish: tokens have been known to ignore parts of it. So attributes are read back, after a key is made
//! and at every boot, and each one that differs is named.

use std::{collections::BTreeMap, fmt};

/// What a key is, by class, type and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyClass {
    /// A private ECDSA key on P-256.
    P256Private,
    /// An AES key of 256 bits.
    Aes256,
    /// Anything else: another curve, another size, another algorithm.
    Other,
}

impl fmt::Display for KeyClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256Private => "a private P-256 key",
            Self::Aes256 => "an AES-256 key",
            Self::Other => "a key of another kind",
        })
    }
}

/// A yes-or-no attribute of a key (PKCS#11 v2.40, sections 4.4 and 4.7 to 4.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// It outlives the session.
    Token,
    /// It is visible only after login.
    Private,
    /// Its value can not be read in the clear.
    Sensitive,
    /// That has always been so.
    AlwaysSensitive,
    /// It can be wrapped by another key and so leave the token.
    Extractable,
    /// That has never been so.
    NeverExtractable,
    /// It was made inside this token.
    Local,
    /// Its other attributes can be changed.
    Modifiable,
    /// It can be copied, perhaps with other attributes.
    Copyable,
    /// It signs.
    Sign,
    /// It signs so that the data can be recovered from the signature.
    SignRecover,
    /// It verifies (for secret keys: checks MACs).
    Verify,
    /// It encrypts.
    Encrypt,
    /// It decrypts.
    Decrypt,
    /// It wraps other keys.
    Wrap,
    /// It unwraps other keys.
    Unwrap,
    /// Other keys can be derived from it.
    Derive,
}

impl Flag {
    /// Every flag that is checked.
    pub const ALL: [Self; 17] = [
        Self::Token,
        Self::Private,
        Self::Sensitive,
        Self::AlwaysSensitive,
        Self::Extractable,
        Self::NeverExtractable,
        Self::Local,
        Self::Modifiable,
        Self::Copyable,
        Self::Sign,
        Self::SignRecover,
        Self::Verify,
        Self::Encrypt,
        Self::Decrypt,
        Self::Wrap,
        Self::Unwrap,
        Self::Derive,
    ];

    /// The name of the attribute in PKCS#11.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "CKA_TOKEN",
            Self::Private => "CKA_PRIVATE",
            Self::Sensitive => "CKA_SENSITIVE",
            Self::AlwaysSensitive => "CKA_ALWAYS_SENSITIVE",
            Self::Extractable => "CKA_EXTRACTABLE",
            Self::NeverExtractable => "CKA_NEVER_EXTRACTABLE",
            Self::Local => "CKA_LOCAL",
            Self::Modifiable => "CKA_MODIFIABLE",
            Self::Copyable => "CKA_COPYABLE",
            Self::Sign => "CKA_SIGN",
            Self::SignRecover => "CKA_SIGN_RECOVER",
            Self::Verify => "CKA_VERIFY",
            Self::Encrypt => "CKA_ENCRYPT",
            Self::Decrypt => "CKA_DECRYPT",
            Self::Wrap => "CKA_WRAP",
            Self::Unwrap => "CKA_UNWRAP",
            Self::Derive => "CKA_DERIVE",
        }
    }
}

/// The one thing that a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Signing as the node.
    Identity,
    /// Wrapping and unwrapping secrets.
    Wrapping,
}

impl Purpose {
    /// What a key of this purpose is.
    #[must_use]
    pub fn class(self) -> KeyClass {
        match self {
            Self::Identity => KeyClass::P256Private,
            Self::Wrapping => KeyClass::Aes256,
        }
    }

    /// What `flag` must be for a key of this purpose.
    #[must_use]
    pub fn requires(self, flag: Flag) -> bool {
        match flag {
            Flag::Token
            | Flag::Private
            | Flag::Sensitive
            | Flag::AlwaysSensitive
            | Flag::NeverExtractable
            | Flag::Local => true,
            Flag::Sign => self == Self::Identity,
            Flag::Wrap | Flag::Unwrap => self == Self::Wrapping,
            Flag::Extractable
            | Flag::Modifiable
            | Flag::Copyable
            | Flag::SignRecover
            | Flag::Verify
            | Flag::Encrypt
            | Flag::Decrypt
            | Flag::Derive => false,
        }
    }
}

/// Whether a token may leave `flag` out: a use that a class of keys does not know, it can not be put to. What guards a
/// key must be stated.
fn may_be_absent(flag: Flag) -> bool {
    !matches!(
        flag,
        Flag::Token
            | Flag::Private
            | Flag::Sensitive
            | Flag::AlwaysSensitive
            | Flag::Extractable
            | Flag::NeverExtractable
            | Flag::Local
            | Flag::Modifiable
    )
}

/// What a root says of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttributes {
    /// What the key is.
    pub class: KeyClass,
    /// The flags that the root states; others it does not know for this class of keys.
    pub flags: BTreeMap<Flag, bool>,
}

impl KeyAttributes {
    /// The attributes of a key that is exactly right for `purpose`.
    #[must_use]
    pub fn ideal(purpose: Purpose) -> Self {
        Self {
            class: purpose.class(),
            flags: Flag::ALL.map(|flag| (flag, purpose.requires(flag))).into(),
        }
    }

    /// Every attribute that is wrong for `purpose`; none if the key is fit for it and for nothing else.
    #[must_use]
    pub fn wrong_for(&self, purpose: Purpose) -> Vec<WrongAttribute> {
        let class = (self.class != purpose.class()).then_some(WrongAttribute::Class {
            expected: purpose.class(),
            found: self.class,
        });
        let flags = Flag::ALL.into_iter().filter_map(|flag| {
            let expected = purpose.requires(flag);
            let found = self.flags.get(&flag).copied();
            let right = match found {
                Some(found) => found == expected,
                None => !expected && may_be_absent(flag),
            };
            (!right).then_some(WrongAttribute::Flag { flag, expected, found })
        });
        class.into_iter().chain(flags).collect()
    }
}

/// One attribute that a key must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongAttribute {
    /// It is another kind of key.
    Class {
        /// What its purpose needs.
        expected: KeyClass,
        /// What it is.
        found: KeyClass,
    },
    /// A flag has the wrong value, or is not stated.
    Flag {
        /// Which.
        flag: Flag,
        /// What its purpose needs.
        expected: bool,
        /// What the root says, if it says anything.
        found: Option<bool>,
    },
}

impl fmt::Display for WrongAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class { expected, found } => write!(f, "it is {found}, not {expected}"),
            Self::Flag {
                flag,
                expected,
                found: Some(found),
            } => {
                write!(f, "{} is {found}, must be {expected}", flag.name())
            }
            Self::Flag {
                flag,
                expected,
                found: None,
            } => {
                write!(f, "{} is not stated, must be {expected}", flag.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURPOSES: [Purpose; 2] = [Purpose::Identity, Purpose::Wrapping];

    #[test]
    fn an_ideal_key_is_fit_for_its_purpose_and_not_for_the_other() {
        for purpose in PURPOSES {
            assert_eq!(KeyAttributes::ideal(purpose).wrong_for(purpose), []);
        }
        assert!(
            !KeyAttributes::ideal(Purpose::Identity)
                .wrong_for(Purpose::Wrapping)
                .is_empty()
        );
        assert!(
            !KeyAttributes::ideal(Purpose::Wrapping)
                .wrong_for(Purpose::Identity)
                .is_empty()
        );
    }

    #[test]
    fn each_flag_turned_round_is_named_alone() {
        for purpose in PURPOSES {
            for flag in Flag::ALL {
                let mut key = KeyAttributes::ideal(purpose);
                let expected = purpose.requires(flag);
                key.flags.insert(flag, !expected);
                let wrong = WrongAttribute::Flag {
                    flag,
                    expected,
                    found: Some(!expected),
                };
                assert_eq!(key.wrong_for(purpose), [wrong], "{purpose:?} {flag:?}");
                assert_eq!(
                    wrong.to_string(),
                    format!("{} is {}, must be {expected}", flag.name(), !expected)
                );
            }
        }
    }

    #[test]
    fn what_guards_a_key_must_be_stated_and_so_must_its_use() {
        for purpose in PURPOSES {
            for flag in Flag::ALL {
                let mut key = KeyAttributes::ideal(purpose);
                key.flags.remove(&flag);
                let refused = !key.wrong_for(purpose).is_empty();
                assert_eq!(
                    refused,
                    purpose.requires(flag) || !may_be_absent(flag),
                    "{purpose:?} {flag:?}"
                );
            }
        }
    }

    #[test]
    fn the_two_uses_of_each_purpose_are_exactly_these() {
        let uses = |purpose: Purpose| -> Vec<Flag> {
            Flag::ALL
                .into_iter()
                .filter(|flag| purpose.requires(*flag) && may_be_absent(*flag))
                .collect()
        };
        assert_eq!(uses(Purpose::Identity), [Flag::Sign]);
        assert_eq!(uses(Purpose::Wrapping), [Flag::Wrap, Flag::Unwrap]);
    }

    #[test]
    fn a_key_of_another_kind_is_named() {
        let mut key = KeyAttributes::ideal(Purpose::Wrapping);
        key.class = KeyClass::Other;
        let wrong = WrongAttribute::Class {
            expected: KeyClass::Aes256,
            found: KeyClass::Other,
        };
        assert_eq!(key.wrong_for(Purpose::Wrapping), [wrong]);
        assert_eq!(wrong.to_string(), "it is a key of another kind, not an AES-256 key");
    }
}
