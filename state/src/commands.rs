//! Signed commands: who signed, whether they may, whether it is new; then the command itself.
//!
//! Order of checks: form, the same bytes again, cluster, expiry, author and signatures, another body under a nonce that was
//! used, the command's own. Only commands with valid signatures reach the idempotency table, so that nobody can fill another's.

use crate::access::Subject;
use crate::identity;
use crate::keys;
use crate::levels;
use crate::machine::{Effect, Machine};
use crate::metadata;
use crate::policies;
use crate::records::{Done, PrincipalUse};
use crate::secrets::{self, Change};
use crate::view::{Fault, Records, View, load, store};
use bytes::Bytes;
use prost::Message;
use symbolon_crypto::Hash;
use symbolon_crypto::provider::Provider;
use symbolon_wire::Code;
use symbolon_wire::command::{ParsedCommand, signing_bytes};
use symbolon_wire::limits::{EXPIRY_AHEAD_MS_MAX, EXPIRY_AHEAD_SEVERAL_MS_MAX, IDEMPOTENCY_PER_PRINCIPAL_MAX};
use symbolon_wire::roster::Roster;
use symbolon_wire::v1::{self, command_body::Payload};

/// Longest message of a refusal that is recorded, bytes.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// The reasons of one, together.
const BECAUSE_BYTES_MAX: usize = 4 * 1024;
/// Its next step.
const NEXT_BYTES_MAX: usize = 1024;

/// Why a command had no effect; becomes its recorded outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: Code,
    message: String,
    because: Vec<String>,
    next: String,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            because: Vec::new(),
            next: String::new(),
        }
    }

    pub(crate) fn because(mut self, lines: Vec<String>) -> Self {
        self.because = lines;
        self
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// What is recorded of it is bounded: much of it is in the words of others, of any length, and a record that is too large
    /// could be written by no node.
    fn outcome(self) -> v1::Outcome {
        let mut because = self.because;
        let mut bytes = 0;
        let mut fits = |line: &String| {
            bytes += line.len();
            bytes <= BECAUSE_BYTES_MAX
        };
        let kept = because.iter().take_while(|line| fits(line)).count();
        if kept < because.len() {
            let more = format!("and {} more", because.len() - kept);
            because.truncate(kept);
            because.push(more);
        }
        v1::Outcome {
            code: self.code as u32,
            message: cut(self.message, MESSAGE_BYTES_MAX),
            because,
            next: cut(self.next, NEXT_BYTES_MAX),
            ..v1::Outcome::default()
        }
    }
}

fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push_str(" …");
    }
    text
}

/// What a command that succeeded did.
#[derive(Debug, Default)]
pub(crate) struct Success {
    pub(crate) version: u64,
    pub(crate) record_hash: Bytes,
    pub(crate) effects: Vec<Effect>,
}

/// Where in the log a command stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) index: u64,
    pub(crate) chain: &'a Hash,
    pub(crate) now_ms: u64,
}

/// By what a command is judged before anything of it is recorded.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// The roster.
    pub roster: &'a Roster,
    /// Signature checks.
    pub provider: &'a dyn Provider,
    /// The feature level in force.
    pub level: u32,
}

/// What the author of a command is told whose application would leave no record: it is refused before its nonce counts, or
/// was applied before. Nobody need log it. `None`: apply it.
///
/// # Errors
/// [`Fault`].
pub fn told_without_record(
    view: &(impl View + ?Sized),
    rules: Rules<'_>,
    now_ms: u64,
    payload: Bytes,
) -> Result<Option<v1::Outcome>, Fault> {
    let judged = rules.judge(view, now_ms, payload)?;
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::GarbageLogged.on() {
        return Ok(None);
    }
    Ok(judged.err())
}

/// A command that is recorded whatever becomes of it.
struct Judged {
    command: ParsedCommand,
    author: Subject,
    body_hash: Hash,
    uses: PrincipalUse,
}

impl Rules<'_> {
    fn judge(
        self,
        view: &(impl View + ?Sized),
        now_ms: u64,
        payload: Bytes,
    ) -> Result<Result<Judged, v1::Outcome>, Fault> {
        let bytes = payload.len();
        let command = match ParsedCommand::parse(payload) {
            Ok(command) => command,
            Err(error) => return Ok(Err(Refusal::new(Code::Malformed, error.to_string()).outcome())),
        };
        let level = levels::needed(&command.payload, bytes);
        if level > self.level {
            // As a build that does not know such commands: nothing is recorded.
            let what = format!(
                "this command needs feature level {level}; level {} is in force",
                self.level
            );
            return Ok(Err(Refusal::new(Code::UnknownVersion, what).outcome()));
        }
        let body_hash = command.body_hash();
        let done: Option<Done> = load(view, &keys::done(command.principal, &command.nonce))?;
        // Before its author is looked up, who may have been removed since: a refusal would say that it never counted.
        if let Some(done) = done.as_ref().filter(|done| done.body_hash == body_hash.as_slice()) {
            return repeated(done, &body_hash).map(Err);
        }
        let author = match self.signer(view, now_ms, &command)? {
            Ok(author) => author,
            Err(refusal) => return Ok(Err(refusal.outcome())),
        };
        if let Some(done) = done {
            return repeated(&done, &body_hash).map(Err);
        }
        let uses: PrincipalUse = load(view, &keys::principal_use(command.principal))?.unwrap_or_default();
        if uses.live_commands >= IDEMPOTENCY_PER_PRINCIPAL_MAX {
            let refusal = Refusal::new(
                Code::TooManyCommands,
                format!("{} commands of this principal are still live", uses.live_commands),
            );
            return Ok(Err(refusal
                .next("wait until they expire, or use shorter expiries")
                .outcome()));
        }
        Ok(Ok(Judged {
            command,
            author,
            body_hash,
            uses,
        }))
    }

    /// Who speaks in the command, if all its signatures are right and enough.
    fn signer(
        self,
        view: &(impl View + ?Sized),
        now_ms: u64,
        command: &ParsedCommand,
    ) -> Result<Result<Subject, Refusal>, Fault> {
        if command.cluster != self.roster.cluster {
            return Ok(Err(Refusal::new(
                Code::WrongCluster,
                format!(
                    "the command is for cluster {}, this is {}",
                    command.cluster, self.roster.cluster
                ),
            )));
        }
        let needed = signatures_needed(&command.payload, self.roster);
        let ahead = if needed > 1 {
            EXPIRY_AHEAD_SEVERAL_MS_MAX
        } else {
            EXPIRY_AHEAD_MS_MAX
        };
        if command.expires_ms <= now_ms || command.expires_ms > now_ms.saturating_add(ahead) {
            let refusal = Refusal::new(
                Code::Expired,
                format!(
                    "the command expires at {} ms; log time is {} ms, and at most {ahead} ms ahead are allowed",
                    command.expires_ms, now_ms
                ),
            );
            return Ok(Err(
                refusal.next("check this machine's clock, then send the command anew")
            ));
        }
        if needed > 0 {
            self.operators(view, now_ms, command, needed)
        } else {
            self.author(view, now_ms, command)
        }
    }

    /// One signature, by a key of the principal that the body names.
    fn author(
        self,
        view: &(impl View + ?Sized),
        now_ms: u64,
        command: &ParsedCommand,
    ) -> Result<Result<Subject, Refusal>, Fault> {
        let bad = |what: &str| Ok(Err(Refusal::new(Code::BadSignature, what)));
        let [signature] = command.signatures.as_slice() else {
            return bad("this kind of command carries one signature");
        };
        let Some((subject, key)) = identity::signer(view, &signature.key, now_ms)? else {
            return Ok(Err(Refusal::new(
                Code::UnknownKey,
                "the signing key belongs to no live principal",
            )));
        };
        if subject.id != command.principal {
            return bad("the signing key belongs to another principal");
        }
        let signed = signing_bytes(&command.body_bytes);
        let wrong = self.provider.p256(&key, &signed, &signature.signature).is_err();
        #[cfg(feature = "sabotage")]
        let wrong = wrong && !symbolon_sabotage::Bug::SignatureUnchecked.on();
        if wrong {
            return bad("the signature is wrong");
        }
        Ok(Ok(subject))
    }

    /// As many different operators of the roster as its rule asks for; every signature present must be right.
    fn operators(
        self,
        view: &(impl View + ?Sized),
        now_ms: u64,
        command: &ParsedCommand,
        needed: u32,
    ) -> Result<Result<Subject, Refusal>, Fault> {
        let bad = |what: &str| Ok(Err(Refusal::new(Code::BadSignature, what)));
        let signed = signing_bytes(&command.body_bytes);
        let mut author = None;
        let mut count = 0;
        for signature in &command.signatures {
            let operator = self
                .roster
                .operators
                .iter()
                .find(|op| op.key.fingerprint() == signature.key);
            let Some(operator) = operator else {
                return bad("a signature is by a key that is no operator's");
            };
            if self
                .provider
                .p256(&operator.key, &signed, &signature.signature)
                .is_err()
            {
                return bad(&format!("the signature of {} is wrong", operator.name));
            }
            if operator.id == command.principal {
                author = crate::query::principal(view, operator.id, now_ms)?;
            }
            count += 1;
        }
        #[cfg(feature = "sabotage")]
        let count = if symbolon_sabotage::Bug::OperatorCountsTwice.on() {
            2 * count
        } else {
            count
        };
        if count < needed {
            return Ok(Err(Refusal::new(
                Code::TooFewSignatures,
                format!("{count} of {needed} operators have signed"),
            )
            .next("collect the missing operators' signatures over the same bytes")));
        }
        match author {
            Some(author) => Ok(Ok(author)),
            None => bad("the operator that the command names has not signed it"),
        }
    }
}

impl Machine {
    /// What commands are judged by.
    pub(crate) fn rules(&self) -> Rules<'_> {
        Rules {
            roster: &self.roster,
            provider: self.provider.as_ref(),
            level: self.level,
        }
    }

    /// Applies one signed command.
    pub(crate) fn command(
        &mut self,
        records: &mut dyn Records,
        place: Place<'_>,
        payload: Bytes,
    ) -> Result<(v1::Outcome, Vec<Effect>), Fault> {
        let judged = self.rules().judge(records, place.now_ms, payload)?;
        let Judged {
            command,
            author,
            body_hash,
            mut uses,
        } = match judged {
            Ok(judged) => judged,
            Err(told) => return Ok((told, Vec::new())),
        };
        let (outcome, effects) = match self.dispatch(records, place, &command, &author, &body_hash)? {
            Ok(done) => {
                let outcome = v1::Outcome {
                    version: done.version,
                    record_hash: done.record_hash,
                    ..v1::Outcome::default()
                };
                (outcome, done.effects)
            }
            Err(refusal) => (refusal.outcome(), Vec::new()),
        };
        let done = Done {
            body_hash: Bytes::copy_from_slice(&body_hash),
            outcome: outcome.encode_to_vec().into(),
            index: place.index,
        };
        let done_key = keys::done(command.principal, &command.nonce);
        store(records, done_key.clone(), &done);
        records.put(keys::due(command.expires_ms, &done_key), Bytes::new());
        uses.live_commands += 1;
        store(records, keys::principal_use(command.principal), &uses);
        Ok((outcome, effects))
    }

    fn dispatch(
        &mut self,
        records: &mut dyn Records,
        place: Place<'_>,
        command: &ParsedCommand,
        author: &Subject,
        body_hash: &Hash,
    ) -> Result<Result<Success, Refusal>, Fault> {
        Ok(match &command.payload {
            Payload::Put(put) => secrets::put(self, records, place, command, author, put)?,
            Payload::Delete(named) => secrets::change(self, records, place, author, Change::Delete, named)?,
            Payload::Undelete(named) => secrets::change(self, records, place, author, Change::Undelete, named)?,
            Payload::Destroy(named) => secrets::change(self, records, place, author, Change::Destroy, named)?,
            Payload::Metadata(change) => metadata::set(self, records, place, author, change)?,
            Payload::Session(open) => {
                let opened = crate::dealings::open_session(&self.roster, records, place, author, open)?;
                opened.map(|_| Success::default())
            }
            Payload::Policies(set) => match policies::set(records, &self.policies, set, body_hash, self.level)? {
                Ok((version, policies)) => {
                    self.policies = policies;
                    self.policy_version = version;
                    Ok(Success {
                        version,
                        effects: vec![Effect::Policies],
                        ..Success::default()
                    })
                }
                Err(refusal) => Err(refusal),
            },
            Payload::Register(register) => {
                identity::register(records, &self.roster, register, place.now_ms)?.map(|()| principals_changed())
            }
            Payload::Remove(remove) => identity::remove(records, remove)?.map(|()| principals_changed()),
            Payload::Rekey(rekey) => identity::rekey(records, rekey)?.map(|()| principals_changed()),
        })
    }
}

fn principals_changed() -> Success {
    Success {
        effects: vec![Effect::Principals],
        ..Success::default()
    }
}

/// The same command again: the recorded outcome. Other bytes under the same nonce: refused, and nothing changes.
fn repeated(done: &Done, body_hash: &Hash) -> Result<v1::Outcome, Fault> {
    let other = done.body_hash != body_hash.as_slice();
    #[cfg(feature = "sabotage")]
    let other = other && !symbolon_sabotage::Bug::RetryWithOtherBytes.on();
    if other {
        return Ok(Refusal::new(Code::NonceReused, "this nonce was used for another command").outcome());
    }
    let outcome = v1::Outcome::decode(done.outcome.clone()).map_err(|_| Fault::Corrupt { kind: keys::DONE })?;
    Ok(v1::Outcome {
        index: done.index,
        repeated: true,
        ..outcome
    })
}

/// How many operators must sign; zero: the author alone, by policy.
fn signatures_needed(payload: &Payload, roster: &Roster) -> u32 {
    match payload {
        Payload::Policies(_) => roster.policy_signatures,
        Payload::Register(_) | Payload::Remove(_) | Payload::Rekey(_) => roster.identity_signatures,
        Payload::Put(_)
        | Payload::Delete(_)
        | Payload::Undelete(_)
        | Payload::Destroy(_)
        | Payload::Metadata(_)
        | Payload::Session(_) => 0,
    }
}
