//! What a policy asks for: the attributes of principal, resource and context that its text names. A request is put into
//! Cedar's terms with those of its candidates alone: most policies ask for few, and making all of them for each request
//! took most of a decision's time.

use cedar_policy_core::ast::{Expr, ExprKind, Var};

/// An attribute of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    Id,
    Name,
    Owner,
    Purpose,
    Path,
    LogTime,
    LogHour,
    LogWeekday,
    Cas,
    LocalTime,
    LocalHour,
    LocalWeekday,
    SourceAddress,
    SourceRegion,
    TlsGroup,
    ClientKey,
}

impl Attribute {
    const ALL: [Self; 16] = [
        Self::Id,
        Self::Name,
        Self::Owner,
        Self::Purpose,
        Self::Path,
        Self::LogTime,
        Self::LogHour,
        Self::LogWeekday,
        Self::Cas,
        Self::LocalTime,
        Self::LocalHour,
        Self::LocalWeekday,
        Self::SourceAddress,
        Self::SourceRegion,
        Self::TlsGroup,
        Self::ClientKey,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::Owner => "owner",
            Self::Purpose => "purpose",
            Self::Path => "path",
            Self::LogTime => "logTime",
            Self::LogHour => "logHour",
            Self::LogWeekday => "logWeekday",
            Self::Cas => "cas",
            Self::LocalTime => "localTime",
            Self::LocalHour => "localHour",
            Self::LocalWeekday => "localWeekday",
            Self::SourceAddress => "sourceAddress",
            Self::SourceRegion => "sourceRegion",
            Self::TlsGroup => "tlsGroup",
            Self::ClientKey => "clientKey",
        }
    }
}

/// A set of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs(u16);

impl Needs {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(u16::MAX);

    /// What `expression` may look at: each attribute that it names, of whatever it names it; all, if it does anything with
    /// its context but ask it for an attribute. Entities need no such rule: all else that is done with one looks at its
    /// type, its id or its ancestors.
    pub(crate) fn of(expression: &Expr) -> Self {
        let (mut needs, mut contexts, mut asked) = (Self::NONE, 0_usize, 0_usize);
        for part in expression.subexpressions() {
            let (of, names) = match part.expr_kind() {
                ExprKind::Var(Var::Context) => {
                    contexts += 1;
                    continue;
                }
                ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => (expr, vec![attr]),
                ExprKind::ExtHasAttr { expr, attrs } => (expr, attrs.iter().collect()),
                _ => continue,
            };
            asked += usize::from(matches!(of.expr_kind(), ExprKind::Var(Var::Context)));
            let named = |one: &Attribute| names.iter().any(|name| name.as_str() == one.name());
            for attribute in Attribute::ALL.into_iter().filter(named) {
                needs = needs.and(Self::bit(attribute));
            }
        }
        if contexts == asked { needs } else { Self::ALL }
    }

    const fn bit(attribute: Attribute) -> Self {
        Self(1 << attribute as u16)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, attribute: Attribute) -> bool {
        self.0 & Self::bit(attribute).0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::SCHEMA_TEXT;
    use cedar_policy::Policy;
    use std::collections::BTreeSet;

    fn needs(condition: &str) -> Needs {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        Needs::of(&Policy::parse(None, text).expect("parses").as_ref().condition())
    }

    fn these(attributes: &[Attribute]) -> Needs {
        attributes
            .iter()
            .fold(Needs::NONE, |all, one| all.and(Needs::bit(*one)))
    }

    #[test]
    fn the_schema_declares_exactly_the_attributes_of_the_code() {
        let code = |line: &'static str| line.split("//").next().unwrap_or_default();
        let words = SCHEMA_TEXT.lines().map(code).collect::<Vec<_>>().join("\n");
        let fields = words
            .split(['{', '}', ',', ';'])
            .filter_map(|part| part.split_once(':'));
        let declared: BTreeSet<&str> = fields
            .map(|(name, _)| name.trim().trim_end_matches('?'))
            .filter(|name| !matches!(*name, "principal" | "resource" | "context"))
            .collect();
        let known: BTreeSet<&str> = Attribute::ALL.into_iter().map(Attribute::name).collect();
        assert_eq!(declared, known);
    }

    #[test]
    fn a_policy_needs_the_attributes_that_it_names() {
        assert_eq!(needs("true"), Needs::NONE);
        assert_eq!(needs("principal in Group::\"ops\""), Needs::NONE);
        assert_eq!(needs("context.logHour > 7"), these(&[Attribute::LogHour]));
        assert_eq!(needs("context has cas && context.cas"), these(&[Attribute::Cas]));
        assert_eq!(
            needs("principal.owner == \"a\" || resource.path like \"b*\""),
            these(&[Attribute::Owner, Attribute::Path])
        );
        assert_eq!(
            needs("(if true then principal else principal).purpose == \"\""),
            these(&[Attribute::Purpose])
        );
        assert_eq!(needs("context has sourceRegion.x"), these(&[Attribute::SourceRegion]));
    }

    #[test]
    fn a_policy_that_takes_its_context_as_a_whole_needs_all_of_it() {
        for whole in [
            "context == {}",
            "[context].contains({})",
            "{a: context}.a.logHour > 7",
            "(if true then context else context).logHour > 7",
            "context.logHour > 7 && context == context",
        ] {
            assert_eq!(needs(whole), Needs::ALL, "{whole}");
        }
    }
}
