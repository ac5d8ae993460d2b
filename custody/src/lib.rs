//! One node's own mind: the release gate, its fragments, what it believes of the others. Sans-IO: token, audit log and
//! clocks come in as traits or values.
//!
//! Three capabilities, each with a private constructor, so that the short cut does not compile:
//!
//! - *verify*: [`fragments::Holder::check`] opens a fragment and says only whether it is good;
//! - *release*: [`fragments::Holder::release`] needs a [`gate::ReleaseGrant`], made only from a [`gate::Permit`] (policy
//!   said yes) and a [`gate::Receipt`] (the audit log reported the decision durable) of the same decision;
//! - *reshare* comes with epochs.
//!
//! There is one way to a fragment:
//!
//! ```
//! use bytes::Bytes;
//! use symbolon_custody::fragments::{Holder, Released};
//! use symbolon_custody::freshness::Deadline;
//! use symbolon_custody::gate::{AuditFailed, AuditLog, Recorded, ReleaseGrant, Ruling, record};
//!
//! async fn release(log: &impl AuditLog, ruling: Ruling, deadline: Deadline, now_ms: u64, holder: &Holder, at_rest: &Bytes)
//! -> Result<Option<Released>, AuditFailed> {
//!     let Some(Recorded::Permitted(permit, receipt)) = record(log, vec![ruling]).await?.pop() else {
//!         return Ok(None);
//!     };
//!     let grant = ReleaseGrant::new(permit, &receipt, deadline, now_ms).ok();
//!     Ok(grant.and_then(|grant| holder.release(grant, at_rest).ok()))
//! }
//! ```
//!
//! and each step left out is an error of the compiler. (It names the code only on nightly, so each example differs from
//! one that compiles in the one thing that it is about.) A permit cannot be made outside the gate:
//!
//! ```compile_fail,E0451
//! use symbolon_custody::gate::Permit;
//! use symbolon_state::records::VersionRecord;
//!
//! fn forge(record: Box<VersionRecord>) -> Permit {
//!     Permit { decision: [0; 32], record }
//! }
//! ```
//!
//! nor a receipt:
//!
//! ```compile_fail,E0451
//! use symbolon_custody::gate::Receipt;
//!
//! fn forge() -> Receipt {
//!     Receipt { decision: [0; 32], index: 0, state_index: 0 }
//! }
//! ```
//!
//! nor a grant, without either:
//!
//! ```compile_fail,E0451
//! use symbolon_custody::gate::ReleaseGrant;
//! use symbolon_state::records::VersionRecord;
//!
//! fn forge(record: Box<VersionRecord>) -> ReleaseGrant {
//!     ReleaseGrant { record }
//! }
//! ```
//!
//! A grant takes both permit and receipt:
//!
//! ```
//! use symbolon_custody::freshness::Deadline;
//! use symbolon_custody::gate::{GrantError, Permit, Receipt, ReleaseGrant};
//!
//! fn grant(permit: Permit, receipt: &Receipt, deadline: Deadline) -> Result<ReleaseGrant, GrantError> {
//!     ReleaseGrant::new(permit, receipt, deadline, 0)
//! }
//! ```
//!
//! ```compile_fail,E0061
//! use symbolon_custody::freshness::Deadline;
//! use symbolon_custody::gate::{GrantError, Permit, Receipt, ReleaseGrant};
//!
//! fn grant(permit: Permit, deadline: Deadline) -> Result<ReleaseGrant, GrantError> {
//!     ReleaseGrant::new(permit, deadline, 0)
//! }
//! ```
//!
//! A holder releases for a grant, not for a permit:
//!
//! ```
//! use symbolon_custody::fragments::Holder;
//! use symbolon_custody::gate::ReleaseGrant;
//!
//! fn release(holder: &Holder, grant: ReleaseGrant, at_rest: &bytes::Bytes) {
//!     drop(holder.release(grant, at_rest));
//! }
//! ```
//!
//! ```compile_fail,E0308
//! use symbolon_custody::fragments::Holder;
//! use symbolon_custody::gate::Permit;
//!
//! fn release(holder: &Holder, permit: Permit, at_rest: &bytes::Bytes) {
//!     drop(holder.release(permit, at_rest));
//! }
//! ```
//!
//! and for each grant once:
//!
//! ```compile_fail,E0382
//! use symbolon_custody::fragments::Holder;
//! use symbolon_custody::gate::ReleaseGrant;
//!
//! fn release(holder: &Holder, grant: ReleaseGrant, at_rest: &bytes::Bytes) {
//!     drop(holder.release(grant, at_rest));
//!     drop(holder.release(grant, at_rest));
//! }
//! ```
//!
//! Neither permits nor grants can be copied:
//!
//! ```compile_fail,E0599
//! fn twice(permit: symbolon_custody::gate::Permit) -> [symbolon_custody::gate::Permit; 2] {
//!     [permit.clone(), permit]
//! }
//! ```
//!
//! ```compile_fail,E0599
//! fn twice(grant: symbolon_custody::gate::ReleaseGrant) -> [symbolon_custody::gate::ReleaseGrant; 2] {
//!     [grant.clone(), grant]
//! }
//! ```
#![forbid(unsafe_code)]

pub mod admission;
pub mod boot;
pub mod fragments;
pub mod freshness;
pub mod gate;
pub mod heads;
#[cfg(feature = "sabotage")]
pub mod malice;
pub mod readings;
pub mod replies;
pub mod snapshots;
pub mod witness;
