//! Licences of everything that is built, against the list in `deny.toml`: the part of `cargo deny` that needs no network.

use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};
use thiserror::Error;

use crate::Finding;

/// What `deny.toml` allows.
#[derive(Debug)]
pub struct Allowed {
    everyone: Vec<Licensee>,
    exceptions: Vec<(String, Vec<Licensee>)>,
}

/// Why `deny.toml` can not be used.
#[derive(Debug, Error)]
pub enum BadPolicy {
    /// It is no TOML, or lacks a part that is needed.
    #[error("deny.toml: {0}")]
    Toml(#[from] toml::de::Error),
    /// It allows something that is no SPDX licence.
    #[error("deny.toml allows {licence:?}, which is no SPDX licence: {reason}")]
    Licence {
        /// What it allows.
        licence: String,
        /// Why that is none.
        reason: spdx::ParseError,
    },
}

#[derive(Deserialize)]
struct Policy {
    licenses: Licences,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

impl Allowed {
    /// Reads the text of `deny.toml`.
    ///
    /// # Errors
    /// [`BadPolicy`].
    pub fn parse(deny: &str) -> Result<Self, BadPolicy> {
        let Policy { licenses } = toml::from_str(deny)?;
        let exceptions = licenses.exceptions.into_iter();
        Ok(Self {
            everyone: licensees(licenses.allow)?,
            exceptions: exceptions
                .map(|one| Ok((one.name, licensees(one.allow)?)))
                .collect::<Result<_, BadPolicy>>()?,
        })
    }

    /// Checks one package: its name, and the SPDX expression that it states.
    #[must_use]
    pub fn check(&self, package: &str, expression: Option<&str>) -> Vec<Finding> {
        let Some(text) = expression else {
            return vec![Finding::new(package, "states no licence")];
        };
        // Old manifests write `MIT/Apache-2.0` for `MIT OR Apache-2.0`.
        let expression = match Expression::parse_mode(text, ParseMode::LAX) {
            Ok(expression) => expression,
            Err(error) => return vec![Finding::new(package, format!("states a licence that is none: {error}"))],
        };
        let own = self
            .exceptions
            .iter()
            .filter(|(name, _)| name == package)
            .flat_map(|(_, allowed)| allowed);
        let allowed: Vec<&Licensee> = self.everyone.iter().chain(own).collect();
        if expression.evaluate(|wanted| allowed.iter().any(|licence| licence.satisfies(wanted))) {
            Vec::new()
        } else {
            vec![Finding::new(
                package,
                format!("is under {text:?}, which deny.toml does not allow"),
            )]
        }
    }
}

fn licensees(names: Vec<String>) -> Result<Vec<Licensee>, BadPolicy> {
    let parse = |licence: String| Licensee::parse(&licence).map_err(|reason| BadPolicy::Licence { licence, reason });
    names.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = r#"
        [licenses]
        allow = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]
        exceptions = [{ crate = "special", allow = ["MPL-2.0"] }]
    "#;

    fn refused(package: &str, expression: &str) -> bool {
        !Allowed::parse(DENY)
            .unwrap()
            .check(package, Some(expression))
            .is_empty()
    }

    #[test]
    fn one_allowed_alternative_is_enough() {
        for text in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "GPL-3.0-only/MIT",
            "MIT AND ISC",
            "(MIT OR GPL-2.0-only) AND ISC",
        ] {
            assert!(!refused("any", text), "{text}");
        }
    }

    #[test]
    fn a_licence_outside_the_list_is_found() {
        for text in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "MPL-2.0",
            "Apache-2.0",
            "AGPL-3.0-only OR SSPL-1.0",
        ] {
            assert!(refused("any", text), "{text}");
        }
    }

    #[test]
    fn an_exception_holds_for_its_crate_only() {
        assert!(!refused("special", "MPL-2.0"));
        assert!(refused("other", "MPL-2.0"));
    }

    #[test]
    fn an_addition_to_a_licence_counts() {
        assert!(!refused("any", "Apache-2.0 WITH LLVM-exception"));
        assert!(refused("any", "Apache-2.0 WITH Classpath-exception-2.0"));
    }

    #[test]
    fn no_licence_and_nonsense_are_found() {
        let allowed = Allowed::parse(DENY).unwrap();
        assert_eq!(allowed.check("any", None), [Finding::new("any", "states no licence")]);
        assert_eq!(allowed.check("any", Some("do what you like")).len(), 1);
    }

    #[test]
    fn a_list_that_can_not_be_read_is_refused() {
        assert!(matches!(Allowed::parse("[licenses]"), Err(BadPolicy::Toml(_))));
        assert!(matches!(
            Allowed::parse("[licenses]\nallow = [\"Mit License\"]"),
            Err(BadPolicy::Licence { .. })
        ));
    }
}
