//! Why a target cannot be selected, with what would be right.

use thiserror::Error;

use crate::diagnostic::listing;
use crate::template::TemplateError;

/// A target that cannot be built or published.
#[derive(Debug, Error)]
pub enum TargetError {
    /// No target has that name.
    #[error("unknown target `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The target that was probably meant.
        suggestion: Option<String>,
        /// Short names of groups and members.
        known: Vec<String>,
        /// The short name of a tier, as an example.
        tier: Option<String>,
    },
    /// The flavor has no such tier.
    #[error("target `{name}` names the tier `{tier}`, which {of} does not have")]
    UnknownTier {
        /// What was asked for.
        name: String,
        /// The tier.
        tier: String,
        /// Flavor or members, in words.
        of: String,
        /// The tiers there are.
        known: Vec<String>,
    },
    /// The plan lists the flavor, but not on that architecture.
    #[error("`{flavor}` has no image for `{arch}`: the plan lists only {}", listing(.listed))]
    NoSuchPlatform {
        /// The flavor.
        flavor: String,
        /// The architecture that was asked for.
        arch: String,
        /// Platforms that the plan lists.
        listed: Vec<String>,
        /// Line of the plan, counted from 1, that lists them.
        line: usize,
        /// That line with the platform added; `None` when no such architecture is known.
        add: Option<String>,
    },
    /// `--arch` contradicts the architecture in the name.
    #[error("target `{name}` is for `{is}`, but the architecture `{arch}` is asked for")]
    ArchConflict {
        /// What was asked for.
        name: String,
        /// Architectures that the name means.
        is: String,
        /// The architecture that was asked for.
        arch: String,
    },
    /// A pattern or group has no member, or none on that architecture.
    #[error("no member matches `{name}`{}", .arch.as_ref().map(|a| format!(" on `{a}`")).unwrap_or_default())]
    NothingMatches {
        /// What was asked for.
        name: String,
        /// The architecture that was asked for.
        arch: Option<String>,
        /// All members.
        members: Vec<String>,
    },
    /// The tags of the target need a version and there is none.
    #[error("cannot publish `{name}` without a version: every tag of this tier carries one")]
    NeedsVersion {
        /// The image, as canonical target.
        name: String,
    },
    /// A tag template fails for this image.
    #[error("cannot name `{name}`")]
    Tag {
        /// The image or index.
        name: String,
        /// Why.
        #[source]
        source: TemplateError,
    },
}

impl TargetError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            TargetError::Unknown { suggestion, known, tier, .. } => {
                let mut hint = String::new();
                if let Some(suggestion) = suggestion {
                    hint.push_str(&format!("did you mean `{suggestion}`? "));
                }
                hint.push_str(&format!("targets of this plan: {}", known.join(", ")));
                if let Some(tier) = tier {
                    hint.push_str(&format!("; and tiers of them, such as {tier}"));
                }
                Some(hint)
            }
            TargetError::UnknownTier { known, .. } => {
                Some(format!("its tiers are {}", listing(known)))
            }
            TargetError::NoSuchPlatform { flavor, line, add, .. } => Some(match add {
                Some(add) => format!("to build it, make line {line} of the plan `{add}`"),
                None => format!("platforms of [flavor.{flavor}] are at line {line} of the plan"),
            }),
            TargetError::ArchConflict { .. } => {
                Some("leave the architecture out, or name the flavor alone".to_owned())
            }
            TargetError::NothingMatches { members, .. } => {
                Some(format!("members of this plan: {}", members.join(", ")))
            }
            TargetError::NeedsVersion { .. } => Some(
                "give one with `--version`, or set `version` in [project] of the plan".to_owned(),
            ),
            TargetError::Tag { source: TemplateError::NotATag { .. }, .. } => Some(
                "a tag, and so a version, holds letters, digits, `_`, `.` and `-` only".to_owned(),
            ),
            TargetError::Tag { .. } => None,
        }
    }
}
