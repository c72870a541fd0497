//! Retention: which tags of a repository may go by age and count, and which manifests go with them.
//!
//! ```text
//! survey  a repository → its tags, and what they reach (gather.rs)
//! choose  tags + policy → a verdict on each tag (choose.rs, pure)
//! plan    tags to go + what is reached from where → deletions in order (removal.rs, pure)
//! apply   deletions → the repository (apply.rs)
//! ```
//!
//! Never deletes what a kept tag reaches: through indexes, as the subject of something kept, or as
//! a referrer of something kept. Where it is not known what a manifest reaches, nothing is deleted.

mod apply;
mod choose;
mod gather;
mod place;
mod removal;
mod version;

pub use apply::{Applied, apply};
pub use choose::{Policy, Verdict, choose};
pub use gather::{Judged, Survey, TaggedImage};
pub use place::{LocalRepository, RemoteRepository, TaggedRepository, Untagged};
pub use removal::{Graph, Node, Removal, plan_removal};
pub use version::TagVersion;

use std::time::SystemTime;

use anyarch_oci::{Digest, Tag};

/// A tag, what it points to, and since when, where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagState {
    /// The tag.
    pub tag: Tag,
    /// What it points to.
    pub digest: Digest,
    /// When it was last set, or its image made.
    pub time: Option<SystemTime>,
}

/// The manifest that a tag of the form `ALGORITHM-HEX` or `ALGORITHM-HEX.sig` is about. Such tags
/// stand in for the referrers API (distribution-spec, "Referrers Tag Schema"), or hold signatures.
pub(crate) fn companion_of(tag: &Tag) -> Option<Digest> {
    let (algorithm, rest) = tag.as_str().split_once('-')?;
    let hex = rest.split('.').next().unwrap_or(rest);
    format!("{algorithm}:{hex}").parse().ok()
}
