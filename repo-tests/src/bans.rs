//! Crates that must not be built: those that `deny.toml` denies.

use serde::Deserialize;

use crate::Finding;

#[derive(Deserialize)]
struct Policy {
    bans: Bans,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

/// A denied crate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ban {
    /// Its name.
    #[serde(rename = "crate")]
    pub name: String,
    /// Why it is denied, or how it probably came in.
    pub reason: String,
}

/// Reads the denied crates from the text of `deny.toml`.
///
/// # Errors
/// If it is no TOML or denies without a reason.
pub fn parse(deny: &str) -> Result<Vec<Ban>, toml::de::Error> {
    Ok(toml::from_str::<Policy>(deny)?.bans.deny)
}

/// Checks the names of the packages that are built.
#[must_use]
pub fn check(bans: &[Ban], built: &[String]) -> Vec<Finding> {
    let banned = bans.iter().filter(|ban| built.contains(&ban.name));
    banned
        .map(|ban| Finding::new(&ban.name, format!("is built, but denied: {}", ban.reason)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_crate_is_found_with_the_reason() {
        let bans = parse("[bans]\ndeny = [{ crate = \"ring\", reason = \"aws-lc is enough\" }]").unwrap();
        let built = ["serde", "ring"].map(str::to_owned);
        assert_eq!(
            check(&bans, &built),
            [Finding::new("ring", "is built, but denied: aws-lc is enough")]
        );
        assert_eq!(check(&bans, &built[..1]), []);
    }

    #[test]
    fn a_denial_without_a_reason_is_refused() {
        assert!(parse("[bans]\ndeny = [{ crate = \"ring\" }]").is_err());
    }
}
