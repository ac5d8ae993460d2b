//! Complaints (custody.md, "`FragmentOk`"): a node whose fragment is bad reveals K_i, never the session's secret, and
//! every node judges alike.

use super::{Dealing, OpenFragmentError, SealedFragment, WrongFragment, open_fragment};
use crate::{provider::Aead, secret::Secret};

/// What a complaint comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The fragment opens under the revealed key and is not what the dealing commits to: its author dealt badly.
    AuthorAtFault,
    /// The tag fails under the revealed key. Either side may have lied, so nobody is blamed; the author writes anew.
    NobodyToBlame,
    /// The fragment opens and fits: there is nothing to complain of.
    Unfounded,
    /// The dealing has no node of this index.
    NoSuchNode,
}

/// Judges the complaint of the node `index` over its sealed fragment.
#[must_use]
pub fn judge_complaint(
    aead: &(impl Aead + ?Sized),
    dealing: &Dealing<'_>,
    index: u16,
    sealed: &SealedFragment,
    revealed_key: &Secret<32>,
) -> Verdict {
    if dealing.sharing().place(index).is_none() {
        return Verdict::NoSuchNode;
    }
    let fragment = match open_fragment(aead, revealed_key, dealing.dd(), sealed) {
        Ok(fragment) => fragment,
        Err(OpenFragmentError::Tag(_)) => return Verdict::NobodyToBlame,
        Err(OpenFragmentError::Content(_)) => return Verdict::AuthorAtFault,
    };
    match dealing.verify_fragment(index, &fragment) {
        Ok(()) => Verdict::Unfounded,
        Err(WrongFragment::Commitment { .. }) => Verdict::AuthorAtFault,
        Err(WrongFragment::UnknownNode { .. }) => Verdict::NoSuchNode,
    }
}
