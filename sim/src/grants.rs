//! Who may read what: the simulation's policies, small enough that a checker can say what they mean without Cedar.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Folders of secrets.
pub const FOLDERS: u8 = 2;
/// Secrets in each.
pub const SECRETS_PER_FOLDER: u8 = 2;

const HEAD: &str = "// grants:";

/// Name of an agent in policies.
pub(crate) fn agent_name(agent: u16) -> String {
    format!("spiffe://sim/agent/{agent}")
}

/// One secret of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its folder.
    pub folder: u8,
    /// Its number in there.
    pub secret: u8,
}

impl Key {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let of = |folder| (0..SECRETS_PER_FOLDER).map(move |secret| Self { folder, secret });
        (0..FOLDERS).flat_map(of).collect()
    }

    /// Its path.
    #[must_use]
    pub fn path(self) -> String {
        format!("folder-{}/secret-{}", self.folder, self.secret)
    }
}

/// Which agent may read in which folder. Every registered agent may write everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants(BTreeSet<(u16, u8)>);

impl Grants {
    /// All agents up to `agents` read everything.
    #[must_use]
    pub fn everything(agents: u16) -> Self {
        let of = |agent| (0..FOLDERS).map(move |folder| (agent, folder));
        Self((1..=agents).flat_map(of).collect())
    }

    /// Whether `agent` may read in `folder`.
    #[must_use]
    pub fn allow(&self, agent: u16, folder: u8) -> bool {
        self.0.contains(&(agent, folder))
    }

    /// Grants, or revokes.
    #[must_use]
    pub fn toggled(&self, agent: u16, folder: u8) -> Self {
        let mut other = self.clone();
        if !other.0.remove(&(agent, folder)) {
            other.0.insert((agent, folder));
        }
        other
    }

    /// As Cedar policies; the first line tells a checker what they mean.
    #[must_use]
    pub fn to_cedar(&self) -> String {
        let mut text = HEAD.to_owned();
        for (agent, folder) in &self.0 {
            // Writing to a string cannot fail.
            let _ = write!(text, " {agent}/{folder}");
        }
        text.push_str(
            "\n@id(\"write\") permit(principal, action in [Action::\"write\", Action::\"delete\", \
             Action::\"undelete\", Action::\"destroy\"], resource);\n",
        );
        for (agent, folder) in &self.0 {
            let _ = writeln!(
                text,
                "@id(\"read-{agent}-{folder}\") permit(principal == Agent::\"{}\", action == Action::\"read\", resource in \
                 Folder::\"folder-{folder}\");",
                agent_name(*agent)
            );
        }
        text
    }

    /// What [`Grants::to_cedar`] wrote; `None` for other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let first = text.lines().next()?.strip_prefix(HEAD)?;
        let one = |word: &str| {
            let (agent, folder) = word.split_once('/')?;
            Some((agent.parse().ok()?, folder.parse().ok()?))
        };
        first.split_whitespace().map(one).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_the_policies_mean() {
        let grants = Grants::everything(4).toggled(2, 1);
        assert!(grants.allow(2, 0) && !grants.allow(2, 1));
        assert_eq!(Grants::parse(&grants.to_cedar()), Some(grants));
        assert_eq!(Grants::parse("permit(principal, action, resource);"), None);
    }

    #[test]
    fn toggling_twice_changes_nothing() {
        let grants = Grants::everything(3);
        assert_eq!(grants.toggled(1, 1).toggled(1, 1), grants);
    }
}
