//! A validated, immutable, sliced set of policies, and the decision.

use std::fmt;
use std::sync::Arc;

use cedar_policy::{Policy, ResourceConstraint};

use crate::compile::{Checked, CheckedSources, check, in_order};
use crate::decision::{Decision, DecisionError, Effect, Miss, NearMiss, PolicyRef, Reason};
use crate::digest::FieldHash;
use crate::error::CompileError;
use crate::evaluate::Asked;
use crate::index::{Index, Number};
use crate::limits::{NEAREST_MAX, NEAREST_SCAN_MAX};
use crate::needs::Needs;
use crate::request::{InputDefect, Request};
use crate::schema::Vocabulary;

/// Label of a set's hash.
const SET_LABEL: &str = "symbolon/v1/policy/set";

/// One file of policies, as stored in the log: Cedar text, in which each policy may carry `@id("…")` and `@note("…")`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// A path such as `policies/billing.cedar`.
    pub name: String,
    /// The policies.
    pub text: String,
}

/// A set of policies that only the check makes.
///
/// The empty set denies everything.
pub struct PolicySet {
    sources: CheckedSources,
    /// What the sources were checked against.
    vocabulary: Vocabulary,
    /// The policies of all sources in order; a policy's number is its place here.
    members: Vec<Arc<Checked>>,
    index: Index,
    hash: [u8; 32],
}

impl PolicySet {
    /// The set without policies.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            sources: CheckedSources::new(),
            vocabulary: Vocabulary::at(u32::MAX),
            members: Vec::new(),
            index: Index::default(),
            hash: FieldHash::new(SET_LABEL).finish(),
        }
    }

    /// Checks the sources and makes them a set, whatever order they come in. About 0.3 ms a policy.
    ///
    /// # Errors
    /// [`CompileError`], naming file, line and column.
    pub fn compile(sources: &[Source]) -> Result<Self, CompileError> {
        Self::compile_at(sources, u32::MAX)
    }

    /// The same with the vocabulary of a feature level, so that nodes of different builds check alike while one is in
    /// force.
    ///
    /// # Errors
    /// As `compile`.
    pub fn compile_at(sources: &[Source], level: u32) -> Result<Self, CompileError> {
        Self::empty().recompile(sources, level)
    }

    /// What [`compile_at`](Self::compile_at) gives, but a source that this set has under the same name with the same text,
    /// checked with the same vocabulary, is not checked again, so that a change costs what it changes.
    ///
    /// # Errors
    /// As `compile`.
    pub fn recompile(&self, sources: &[Source], level: u32) -> Result<Self, CompileError> {
        let ordered = in_order(sources)?;
        let (vocabulary, nothing) = (Vocabulary::at(level), CheckedSources::new());
        let known = if vocabulary == self.vocabulary {
            &self.sources
        } else {
            &nothing
        };
        let sources = check(&ordered, known, vocabulary)?;
        let members: Vec<Arc<Checked>> = sources.values().flat_map(|source| &source.policies).cloned().collect();
        let mut index = Index::default();
        for (number, member) in (0..).zip(&members) {
            index.add(number, &member.policy);
        }
        let mut hash = FieldHash::new(SET_LABEL);
        for Source { name, text } in ordered {
            hash.field(name.as_bytes()).field(text.as_bytes());
        }
        Ok(Self {
            sources,
            vocabulary,
            members,
            index,
            hash: hash.finish(),
        })
    }

    /// `SHA-256(enc("symbolon/v1/policy/set", name, text, …))`, the sources in ascending order of names.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The number of policies.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no policy, so that everything is denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The policies, in the order of files and lines.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyRef> {
        self.members.iter().map(|member| &member.reference)
    }

    /// Decides: denied unless a policy permits, none forbids, and none that may apply fails.
    ///
    /// Pure: the same request and set give the same decision on every node, explanation included.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let mut decision = Decision {
            reason: Reason::NoPolicy,
            determining: Vec::new(),
            errors: Vec::new(),
            nearest: Vec::new(),
            set_hash: self.hash,
            inputs_digest: request.digest(),
        };
        if let Err(defect) = request.check() {
            return malformed(decision, defect);
        }
        let candidates = self.index.candidates(request);
        if candidates.is_empty() {
            decision.nearest = self.nearest(request, &candidates);
            return decision;
        }
        let members = || candidates.iter().filter_map(|number| self.member(*number));
        let needs = members().fold(Needs::NONE, |needs, member| needs.and(member.needs));
        let asked = match Asked::new(request, needs) {
            Ok(asked) => asked,
            Err(error) => {
                decision.reason = Reason::EvaluationError;
                decision.errors.push(DecisionError::Build {
                    message: error.to_string(),
                });
                return decision;
            }
        };
        let mut permitting = Vec::new();
        let mut forbidding = Vec::new();
        let is_satisfied = asked.evaluator();
        for Checked {
            expression, reference, ..
        } in members()
        {
            match (is_satisfied(expression), reference.effect) {
                (Ok(true), Effect::Permit) => permitting.push(reference.clone()),
                (Ok(true), Effect::Forbid) => forbidding.push(reference.clone()),
                (Ok(false), _) => {}
                #[cfg(feature = "sabotage")]
                (Err(_), _) if symbolon_sabotage::Bug::FailedForbidSkipped.on() => {}
                // Cedar's authorizer skips what fails; a `forbid` that fails must not thereby permit.
                (Err(message), _) => {
                    decision.errors.push(DecisionError::Policy {
                        policy: reference.clone(),
                        message,
                    });
                }
            }
        }
        if !forbidding.is_empty() {
            decision.reason = Reason::Forbid;
            decision.determining = forbidding;
        } else if !decision.errors.is_empty() {
            decision.reason = Reason::EvaluationError;
        } else if !permitting.is_empty() {
            decision.reason = Reason::Allowed;
            decision.determining = permitting;
        } else {
            decision.nearest = self.nearest(request, &candidates);
        }
        decision
    }

    fn member(&self, number: Number) -> Option<&Checked> {
        self.members.get(usize::try_from(number).ok()?).map(AsRef::as_ref)
    }

    /// Policies that would permit but for their condition, then those that would but for their resource.
    fn nearest(&self, request: &Request<'_>, candidates: &[Number]) -> Vec<NearMiss> {
        let permits = |number: &Number| {
            self.member(*number)
                .filter(|member| member.reference.effect == Effect::Permit)
        };
        let unmet = candidates.iter().filter_map(permits).map(|member| NearMiss {
            policy: member.reference.clone(),
            miss: Miss::Condition,
        });
        let elsewhere = self.index.regardless_of_resource(request, NEAREST_SCAN_MAX);
        let elsewhere = elsewhere
            .iter()
            .filter(|number| !candidates.contains(number))
            .filter_map(permits)
            .map(|member| NearMiss {
                policy: member.reference.clone(),
                miss: Miss::Resource(scope_text(&member.policy)),
            });
        unmet.chain(elsewhere).take(NEAREST_MAX).collect()
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet")
            .field("policies", &self.members.len())
            .finish_non_exhaustive()
    }
}

/// A policy's resource scope for people.
fn scope_text(policy: &Policy) -> String {
    match policy.resource_constraint() {
        ResourceConstraint::Any => "every resource".to_owned(),
        ResourceConstraint::Is(kind) => format!("every {kind}"),
        ResourceConstraint::Eq(uid) => uid.to_string(),
        ResourceConstraint::In(uid) => format!("what is in {uid}"),
        ResourceConstraint::IsIn(kind, uid) => format!("every {kind} in {uid}"),
    }
}

fn malformed(mut decision: Decision, defect: InputDefect) -> Decision {
    decision.reason = Reason::EvaluationError;
    decision.errors.push(DecisionError::Input(defect));
    decision
}
