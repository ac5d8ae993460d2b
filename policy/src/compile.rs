//! From text to policies: nothing enters a set unless it has passed everything here.
//!
//! In this order, so that the costly steps see bounded input only: sizes and names; characters, slots and depth (`scan`);
//! Cedar's parser, one statement at a time; ids; names that could never match; Cedar's strict validation of all policies.
//!
//! All but the ids concern one policy by itself, so a source that has passed them once is not checked again: one changed
//! file among many must not hold up the log of every node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cedar_policy::{Policy, PolicyId, PolicySet as CedarSet, ValidationMode};
use cedar_policy_core::ast::Expr;
use miette::Diagnostic;

use crate::decision::{Effect, PolicyRef};
use crate::digest::FieldHash;
use crate::error::{CompileError, LiteralDefect, Problem, Problems, SourceNameDefect};
use crate::limits::{
    POLICIES_MAX, POLICY_ID_BYTES_MAX, POLICY_NOTE_BYTES_MAX, SET_BYTES_MAX, SOURCE_BYTES_MAX, SOURCE_NAME_BYTES_MAX,
    SOURCES_MAX,
};
use crate::needs::Needs;
use crate::place::{Lines, Place};
use crate::request::{check_path, is_name};
use crate::scan::{ScanError, Statement, is_deceptive, statements};
use crate::schema::{EntityKind, Vocabulary};
use crate::set::Source;

/// How far from `principal`, `action`, `resource` and `context` a policy may look: at their attributes and at what they
/// are in, no further. Attributes of an entity written out in a policy would be missing at evaluation.
const DEREFERENCE_LEVEL: u32 = 1;

/// A policy that has passed every check.
pub(crate) struct Checked {
    pub(crate) policy: Policy,
    /// Scope and condition as one expression, so that it is not put together for each request.
    pub(crate) expression: Expr,
    pub(crate) needs: Needs,
    pub(crate) reference: PolicyRef,
    place: Place,
}

/// The policies of a source, and what they were made from.
#[derive(Clone)]
pub(crate) struct CheckedSource {
    text_hash: [u8; 32],
    pub(crate) policies: Vec<Arc<Checked>>,
}

/// Checked sources by name.
pub(crate) type CheckedSources = BTreeMap<String, CheckedSource>;

/// A parsed policy with what is needed to point into it.
struct Parsed<'a> {
    checked: Arc<Checked>,
    lines: &'a Lines<'a>,
    /// Byte offset of its text in its source.
    start: usize,
}

/// Checks sources in the order of their names with a vocabulary, taking from `known` what it has of
/// the same name and text.
pub(crate) fn check(
    ordered: &[&Source],
    known: &CheckedSources,
    vocabulary: Vocabulary,
) -> Result<CheckedSources, CompileError> {
    let lines: Vec<Lines<'_>> = ordered
        .iter()
        .map(|source| Lines::new(&source.name, &source.text))
        .collect();
    let mut all = CheckedSources::new();
    let mut count = 0;
    let mut fresh: Vec<Parsed<'_>> = Vec::new();
    let mut problems = Vec::new();
    for (source, lines) in ordered.iter().zip(&lines) {
        let mut hash = FieldHash::new(&source.name);
        let text_hash = hash.field(source.text.as_bytes()).finish();
        let checked = match known.get(&source.name).filter(|known| known.text_hash == text_hash) {
            Some(known) => {
                count += known.policies.len();
                known.clone()
            }
            None => {
                let statements = scan(lines)?;
                count += statements.len();
                if count > POLICIES_MAX {
                    return Err(CompileError::PoliciesTooMany {
                        file: source.name.clone(),
                    });
                }
                let parsed = parse(lines, &statements, &mut problems)?;
                let policies = parsed.iter().map(|parsed| Arc::clone(&parsed.checked)).collect();
                fresh.extend(parsed);
                CheckedSource { text_hash, policies }
            }
        };
        if count > POLICIES_MAX {
            return Err(CompileError::PoliciesTooMany {
                file: source.name.clone(),
            });
        }
        all.insert(source.name.clone(), checked);
    }
    if let Some(problems) = Problems::new(problems) {
        return Err(CompileError::Syntax(problems));
    }
    check_ids(&all)?;
    for policy in &fresh {
        check_literals(&policy.checked)?;
    }
    validate(&fresh, vocabulary)?;
    Ok(all)
}

/// The sources in the order of their names, if sizes and names are in order.
pub(crate) fn in_order(sources: &[Source]) -> Result<Vec<&Source>, CompileError> {
    if sources.len() > SOURCES_MAX {
        return Err(CompileError::SourcesTooMany { count: sources.len() });
    }
    let mut ordered: Vec<&Source> = sources.iter().collect();
    ordered.sort_by(|a, b| a.name.cmp(&b.name));
    let mut seen: HashMap<String, &str> = HashMap::new();
    let mut bytes = 0_usize;
    for Source { name, text } in ordered.iter().copied() {
        let defect = if name.len() > SOURCE_NAME_BYTES_MAX {
            Some(SourceNameDefect::TooLong)
        } else {
            check_path(name).err().map(SourceNameDefect::Path)
        };
        if let Some(defect) = defect {
            return Err(CompileError::SourceName {
                name: name.clone(),
                defect,
            });
        }
        if let Some(first) = seen.insert(name.to_lowercase(), name) {
            return Err(CompileError::SourceDuplicate {
                first: first.to_owned(),
                second: name.clone(),
            });
        }
        if text.len() > SOURCE_BYTES_MAX {
            return Err(CompileError::SourceTooLong {
                file: name.clone(),
                bytes: text.len(),
            });
        }
        bytes += text.len();
        if bytes > SET_BYTES_MAX {
            return Err(CompileError::SetTooLong { file: name.clone() });
        }
    }
    Ok(ordered)
}

fn scan<'a>(lines: &Lines<'a>) -> Result<Vec<Statement<'a>>, CompileError> {
    statements(lines.text()).map_err(|error| match error {
        ScanError::Deceptive { at, character } => CompileError::DeceptiveCharacter {
            place: lines.place(at),
            character,
        },
        ScanError::Template { at } => CompileError::Template { place: lines.place(at) },
        ScanError::Nested { at } => CompileError::NestedTooDeeply { place: lines.place(at) },
        ScanError::Deep { at } => CompileError::TooDeep { place: lines.place(at) },
    })
}

/// Parses what it can and adds what Cedar says of the rest to `problems`.
fn parse<'a>(
    lines: &'a Lines<'a>,
    statements: &[Statement<'_>],
    problems: &mut Vec<Problem>,
) -> Result<Vec<Parsed<'a>>, CompileError> {
    let mut parsed = Vec::with_capacity(statements.len());
    for (index, Statement { text, start }) in statements.iter().enumerate() {
        match Policy::parse(None, text) {
            Ok(policy) => {
                let checked = Arc::new(named(policy, index + 1, lines.place(*start))?);
                parsed.push(Parsed {
                    checked,
                    lines,
                    start: *start,
                });
            }
            Err(errors) => problems.extend(errors.iter().map(|error| problem(error, lines, *start))),
        }
    }
    Ok(parsed)
}

/// Gives a policy its id: its own, or one made from its file and number.
fn named(policy: Policy, number: usize, place: Place) -> Result<Checked, CompileError> {
    let id = line_of_text(&policy, "id", POLICY_ID_BYTES_MAX, &place)?
        .unwrap_or_else(|| Arc::from(format!("{}#{number}", place.file)));
    let note = line_of_text(&policy, "note", POLICY_NOTE_BYTES_MAX, &place)?;
    let effect = match policy.effect() {
        cedar_policy::Effect::Permit => Effect::Permit,
        cedar_policy::Effect::Forbid => Effect::Forbid,
    };
    let policy = policy.new_id(PolicyId::new(&id));
    let reference = PolicyRef {
        id,
        file: Arc::clone(&place.file),
        line: place.line,
        effect,
        note,
    };
    let expression = policy.as_ref().condition();
    Ok(Checked {
        policy,
        needs: Needs::of(&expression),
        expression,
        reference,
        place,
    })
}

/// The value of an annotation that explanations show, if the policy has it.
fn line_of_text(
    policy: &Policy,
    annotation: &'static str,
    bytes_max: usize,
    place: &Place,
) -> Result<Option<Arc<str>>, CompileError> {
    match policy.annotation(annotation) {
        Some(text) if text.is_empty() || text.len() > bytes_max || text.chars().any(is_deceptive) => {
            Err(CompileError::Annotation {
                place: place.clone(),
                annotation,
            })
        }
        text => Ok(text.map(Arc::from)),
    }
}

fn check_ids(all: &CheckedSources) -> Result<(), CompileError> {
    let mut seen: HashMap<String, &Checked> = HashMap::new();
    for policy in all.values().flat_map(|source| &source.policies) {
        let id = &policy.reference.id;
        if let Some(first) = seen.insert(id.to_lowercase(), policy) {
            return Err(CompileError::IdDuplicate {
                id: id.to_string(),
                first: first.place.clone(),
                second: policy.place.clone(),
            });
        }
    }
    Ok(())
}

/// Refuses entities that no request can hold, above all folders with a slash at the end or a wildcard: a `forbid` on one
/// would protect nothing.
fn check_literals(checked: &Checked) -> Result<(), CompileError> {
    for uid in checked.policy.entity_literals() {
        let id = uid.id().unescaped();
        match EntityKind::of(uid.type_name()) {
            Some(EntityKind::Secret | EntityKind::Folder) => {
                let defect = match check_path(id) {
                    Err(defect) => LiteralDefect::Path(defect),
                    Ok(()) if id.contains('*') => LiteralDefect::Wildcard,
                    Ok(()) => continue,
                };
                return Err(CompileError::ImpossiblePath {
                    place: checked.place.clone(),
                    entity: uid.to_string(),
                    defect,
                });
            }
            Some(_) if !is_name(id) => {
                return Err(CompileError::ImpossibleName {
                    place: checked.place.clone(),
                    entity: uid.to_string(),
                });
            }
            // Types and actions that the schema does not know are for the validator to name.
            Some(_) | None => {}
        }
    }
    Ok(())
}

fn validate(parsed: &[Parsed<'_>], vocabulary: Vocabulary) -> Result<(), CompileError> {
    let mut all = CedarSet::new();
    let mut by_id = HashMap::new();
    let mut problems = Vec::new();
    for policy in parsed {
        by_id.insert(&*policy.checked.reference.id, policy);
        if let Err(error) = all.add(policy.checked.policy.clone()) {
            problems.push(problem(&error, policy.lines, policy.start));
        }
    }
    let validator = vocabulary.validator();
    let result = validator.validate_with_level(&all, ValidationMode::Strict, DEREFERENCE_LEVEL);
    // What is invalid often seems impossible as well: warnings count when there is nothing worse.
    let mut found: Vec<(&PolicyId, &dyn Diagnostic)> = result
        .validation_errors()
        .map(|error| (error.policy_id(), error as &dyn Diagnostic))
        .collect();
    if found.is_empty() {
        found.extend(
            result
                .validation_warnings()
                .map(|warning| (warning.policy_id(), warning as &dyn Diagnostic)),
        );
    }
    for (id, diagnostic) in found {
        let id: &str = id.as_ref();
        // Every policy that Cedar can name was added above; no objection is lost even so.
        if let Some(policy) = by_id.get(id).copied().or(parsed.first()) {
            problems.push(problem(diagnostic, policy.lines, policy.start));
        }
    }
    Problems::new(problems).map_or(Ok(()), |problems| Err(CompileError::Invalid(problems)))
}

/// What Cedar says, at its place; at the beginning of the policy if Cedar names none.
fn problem(diagnostic: &dyn Diagnostic, lines: &Lines<'_>, start: usize) -> Problem {
    let offset = diagnostic
        .labels()
        .and_then(|mut labels| labels.next())
        .map_or(0, |label| label.offset());
    Problem {
        place: lines.place(start + offset),
        message: diagnostic.to_string(),
        help: diagnostic.help().map(|help| help.to_string()),
    }
}
